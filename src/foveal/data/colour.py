"""Colours of decoded images: colour profiles to sRGB, and transparency over a background."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, ImageColor

from foveal.data.deep import iter_bands

MAX_PROFILE_BYTES = 4_000_000
"""The largest size of a colour profile. A larger one is ignored."""
PROFILE_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The mode of images that a colour space of profiles belongs to."""
_SAME_COLOUR = 2  # steps of 8 bits: rounding in a profile's own curves


class BrokenProfileError(Exception):
    """A colour profile cannot be used."""


@lru_cache(maxsize=64)
def _find_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform of a profile to sRGB for images of a mode, or None if it changes nothing."""
    if len(profile) > MAX_PROFILE_BYTES:
        raise BrokenProfileError
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if PROFILE_MODES.get(source.profile.xcolor_space) != ("RGB" if mode == "RGBA" else mode):
            raise BrokenProfileError
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGBA" if mode == "RGBA" else "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return None if mode in ("L", "RGB", "RGBA") and _changes_nothing(transform, mode) else transform
    except BrokenProfileError:
        raise
    except Exception:  # littlecms and Pillow raise several types on broken profiles
        raise BrokenProfileError from None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Tell whether a transform keeps colours from all over the cube within two steps."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "L":
        before = np.arange(256, dtype=np.uint8)[None]
        after = np.asarray(transform.apply(Image.fromarray(before)))
        return bool(np.abs(after.astype(int) - before[..., None]).max() <= _SAME_COLOUR)
    cube = np.stack(np.meshgrid(steps, steps, steps, [255]), axis=-1).astype(np.uint8)
    before = cube.reshape(1, -1, 4)[..., : len(mode)]
    after = np.asarray(transform.apply(Image.fromarray(np.ascontiguousarray(before))))
    return bool(np.abs(after[..., :3].astype(int) - before[..., :3]).max() <= _SAME_COLOUR)


def _is_rgb(profile: bytes) -> bool:
    return profile[16:20] == b"RGB "


def convert_to_srgb(image: Image.Image) -> tuple[Image.Image, str | None]:
    """Convert an image's colours by its profile to sRGB.

    Returns:
        The image, and what was done: "profile", "broken profile" (it is ignored), or None without a change.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image, None
    if image.mode not in ("L", "RGB", "RGBA", "CMYK"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode in ("L", "RGB") and "transparency" in image.info:
        image = image.convert("RGBA")
    grey = image.mode == "L"
    try:
        if grey and _is_rgb(bytes(profile)):
            image = image if _find_transform(bytes(profile), "RGB") is None else image.convert("RGB")
        transform = (
            None
            if grey and image.mode == "L" and _is_rgb(bytes(profile))
            else (_find_transform(bytes(profile), image.mode))
        )
        if transform is None:
            return image, None
        converted = transform.apply(image)
        converted = converted.convert("L") if grey else converted
    except Exception:  # of littlecms, too
        return image, "broken profile"
    return converted, "profile"


def flatten(image: Image.Image, background: str) -> tuple[Image.Image, bool]:
    """Return the image in mode L or RGB, with the background behind transparent pixels, and if it has any."""
    if not image.has_transparency_data:
        return image.convert("L" if image.mode in ("L", "1") else "RGB"), False
    flat = Image.new("RGB", image.size)
    transparent = False
    for top, band in iter_bands(image):
        over = band.convert("RGBA")
        transparent = transparent or over.getchannel("A").getextrema() != (255, 255)
        under = Image.new("RGBA", band.size, ImageColor.getrgb(background)[:3])
        flat.paste(Image.alpha_composite(under, over).convert("RGB"), (0, top))
    return flat, transparent
