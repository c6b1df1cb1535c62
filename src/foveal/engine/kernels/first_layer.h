/* A first layer with fixed weights. Its maps are the largest of all, so they are never written whole: they are computed
 * from the bytes whenever they are needed. */

#pragma once

#include "activation.h"

typedef struct {
    const uint8_t *pixels; /* (images, height, width, channels); null where there is no such layer */
    long channels;
    const float *filters; /* (2, 2, channels, width of the layer), for pixels from 0 to 1 */
    const float *bias;    /* (width of the layer) */
    int activation;
} first_layer;

/* maps[i][j] = activation(bias + Σ_{k,l<2} filters[k][l] · pixels[i + k][j + l] / 255) for n images from `begin` on;
 * beyond the right and the lower border pixels are zero. `scaled` holds two rows of pixels. */
static void compute_first_layer(const first_layer *layer, long begin, long n, long height, long width, long out,
                                float *maps, float *scaled)
{
    const long c = layer->channels, line = width * c;
    const int activation = layer->activation;
    for (long i = begin * height; i < (begin + n) * height; i++) {
        const long rows = i % height == height - 1 ? 1 : 2;
        for (long k = 0; k < rows; k++)
            for (long j = 0; j < line; j++)
                scaled[k * line + j] = (float)layer->pixels[(i + k) * line + j] * (1.0f / 255);
        for (long j = 0; j < width; j++)
            for (long p = 0; p < out; p += LANES) {
                const long taps = (j < width - 1 ? 2 : 1) * c;
                panel sum = load(layer->bias + p);
                for (long k = 0; k < rows; k++)
                    for (long t = 0; t < taps; t++)
                        sum += scaled[k * line + j * c + t] * load(layer->filters + (k * 2 * c + t) * out + p);
                store(maps + ((i - begin * height) * width + j) * out + p, activate(sum, activation));
            }
    }
}
