/* Foveal's own kernels: 3×3 convolutions by Winograd's algorithm, and everything that stands around them in a
 * network (bias, ReLU, pooling, batch normalisation, activation), forward and backward, in as few passes over memory
 * as possible; also dropout, crops and optimizer steps.
 *
 * Feature maps are float (images, height, width, channels), contiguous, the number of channels a multiple of 16; input
 * images are bytes of 1 or 3 channels. A "panel" is 16 channels of a pixel, one AVX-512 register; the compiler splits
 * it where registers are shorter. Work is divided among threads by whole images and sums are added in a fixed order,
 * so that results depend on the number of threads but never on their timing.
 *
 * Read panel.h first, then winograd.h and product.h, then the families. All files are compiled together, as one
 * translation unit, which is faster to compile.
 * In comments ∂y is the derivative of the loss with respect to y; in code it is grad_y.
 */

#include "convolution.c"
#include "crops.c"
#include "dropout.c"
#include "normalisation.c"
#include "optimizers.c"
#include "orthogonalisation.c"

const char *const foveal_compiler = __VERSION__;
