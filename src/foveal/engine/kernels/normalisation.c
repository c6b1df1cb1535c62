/* Batch normalisation with what stands around it (Ioffe and Szegedy 2015, arXiv:1502.03167). In plain words, for each
 * channel, with scale = weight / √(variance + ε) and shift = bias − mean · scale:
 *
 *     r = max(x, 0) if rectified, else x;   u = scale · r + shift;   y = activation(u),
 *
 * of u the maxima of 2×2 windows if pooled (odd heights and widths are rounded down). Backward, with ∂u the gradient
 * of u (under pooling that of its maximum) and n the number of values of a channel,
 *
 *     ∂bias = Σ∂u,   ∂weight = inv_std · Σ∂u·(r − mean),
 *     ∂r = scale · (∂u − ∂bias / n − (r − mean) · inv_std · ∂weight / n),
 *
 * so there are two passes: one for the sums, one for ∂x.
 */

#include "activation.h"

typedef struct {
    long images, height, width, channels;
    const float *input;         /* x (images, height, width, channels) */
    const float *scale, *shift; /* (channels) */
    int rectified, pooled, activation, threads;
} normalisation;

/* Sums and sums of squares of each channel's values, or of their positive parts; `sums` (threads, 2, channels) are
 * zeroed by the caller. */
void foveal_channel_sums(long images, long pixels, long channels, int threads, const float *x, int rectified,
                         double *sums)
{
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; thread++) {
        const long end = share_begin(images, thread + 1, threads);
        for (long image = share_begin(images, thread, threads); image < end; image++)
            for (long p = 0; p < channels; p += LANES) {
                moments image_sums = {broadcast(0), broadcast(0)};
                for (long i = 0; i < pixels; i++)
                    add_to_moments(&image_sums,
                                   relu_if(rectified, load(x + (image * pixels + i) * channels + p)));
                accumulate_moments(sums + thread * 2 * channels + p, channels, &image_sums);
            }
    }
}

/* The combinations that Foveal's networks have are compiled by themselves; the last line does any. */
#define SPECIALISED(n, RUN) \
    if (n->rectified && !n->pooled && n->activation == LINEAR) RUN(1, 0, LINEAR); \
    else if (n->rectified && n->pooled && n->activation == LINEAR) RUN(1, 1, LINEAR); \
    else if (!n->rectified && !n->pooled && n->activation == SILU) RUN(0, 0, SILU); \
    else RUN(n->rectified, n->pooled, n->activation);

/* Floats of an image before and after pooling. */
INLINE long input_size(const normalisation *n) { return n->height * n->width * n->channels; }

INLINE long output_size(const normalisation *n)
{
    return n->pooled ? (n->height / 2) * (n->width / 2) * n->channels : input_size(n);
}

/* The inputs r of a pooling window, and the normalised u. */
INLINE void load_window(const float *x, long width, long c, panel scale, panel shift, const int rectified, panel r[4],
                        panel u[4])
{
    for (int k = 0; k < 4; k++) {
        r[k] = relu_if(rectified, load(x + (k / 2 * width + k % 2) * c));
        u[k] = scale * r[k] + shift;
    }
}

INLINE void normalise_image(const normalisation *n, const float *x, float *y, const int rectified, const int pooled,
                            const int activation)
{
    const long height = n->height, width = n->width, c = n->channels;
    const float *scale = n->scale, *shift = n->shift;
    if (pooled)
        for (long i = 0; i < height / 2; i++)
            for (long j = 0; j < width / 2; j++)
                for (long p = 0; p < c; p += LANES) {
                    panel r[4], u[4];
                    load_window(x + (2 * i * width + 2 * j) * c + p, width, c, load(scale + p), load(shift + p),
                                rectified, r, u);
                    store(y + (i * (width / 2) + j) * c + p, activate(maximum_of_four(u, r).value, activation));
                }
    else
        for (long i = 0; i < height * width; i++)
            for (long p = 0; p < c; p += LANES) {
                panel u = load(scale + p) * relu_if(rectified, load(x + i * c + p)) + load(shift + p);
                store(y + i * c + p, activate(u, activation));
            }
}

void foveal_normalise(const normalisation *n, float *output)
{
#pragma omp parallel for num_threads(n->threads) schedule(static)
    for (long image = 0; image < n->images; image++) {
#define RUN(rectified, pooled, activation) \
    normalise_image(n, n->input + image * input_size(n), output + image * output_size(n), rectified, pooled, activation)
        SPECIALISED(n, RUN)
#undef RUN
    }
}

/* Adds Σ∂u and Σ∂u·(r − mean) of an image to sums (2, channels). */
INLINE void sum_image_gradients(const normalisation *n, const float *x, const float *grad_y, const float *mean,
                                double *sums, const int rectified, const int pooled, const int activation)
{
    const long width = n->width, c = n->channels;
    const long high = pooled ? n->height / 2 : n->height, wide = pooled ? width / 2 : width;
    for (long i = 0; i < high; i++)
        for (long p = 0; p < c; p += LANES) {
            panel scale = load(n->scale + p), shift = load(n->shift + p), m = load(mean + p);
            panel sum = broadcast(0), products = broadcast(0);
            for (long j = 0; j < wide; j++) {
                panel d = load(grad_y + (i * wide + j) * c + p), r[4], u[4];
                if (pooled) {
                    load_window(x + (2 * i * width + 2 * j) * c + p, width, c, scale, shift, rectified, r, u);
                    const maximum largest = maximum_of_four(u, r);
                    u[0] = largest.value;
                    r[0] = largest.companion;
                } else {
                    r[0] = relu_if(rectified, load(x + (i * wide + j) * c + p));
                    u[0] = scale * r[0] + shift;
                }
                d *= activation_derivative(u[0], activation);
                products += d * (r[0] - m);
                sum += d;
            }
            accumulate(sums + p, sum);
            accumulate(sums + c + p, products);
        }
}

/* Both sums for each thread: sums (threads, 2, channels), zeroed by the caller. */
void foveal_normalise_back_sums(const normalisation *n, const float *grad_output, const float *mean, double *sums)
{
#pragma omp parallel for num_threads(n->threads) schedule(static, 1)
    for (int thread = 0; thread < n->threads; thread++) {
        const long end = share_begin(n->images, thread + 1, n->threads);
        for (long image = share_begin(n->images, thread, n->threads); image < end; image++) {
#define RUN(rectified, pooled, activation) \
    sum_image_gradients(n, n->input + image * input_size(n), grad_output + image * output_size(n), mean, \
                        sums + thread * 2 * n->channels, rectified, pooled, activation)
            SPECIALISED(n, RUN)
#undef RUN
        }
    }
}

/* The vectors of the second pass, each (channels): Σ∂u / n, and what (r − mean) is multiplied by. */
typedef struct {
    const float *mean, *grad_mean, *projection;
} statistics;

/* ∂x from ∂u and r. */
INLINE panel input_gradient(panel scale, panel d, panel r, panel grad_mean, panel projection, panel mean,
                            const int rectified)
{
    panel e = scale * (d - grad_mean - projection * (r - mean));
    return rectified ? choose(r > 0, e, broadcast(0)) : e;
}

INLINE void normalise_image_back(const normalisation *n, const float *x, const float *grad_y, const statistics *s,
                                 float *grad_x, const int rectified, const int pooled, const int activation)
{
    const long height = n->height, width = n->width, c = n->channels;
    const long high = pooled ? height / 2 : height, wide = pooled ? width / 2 : width;
    for (long i = 0; i < high; i++)
        for (long p = 0; p < c; p += LANES) {
            panel scale = load(n->scale + p), shift = load(n->shift + p), mean = load(s->mean + p);
            panel grad_mean = load(s->grad_mean + p), projection = load(s->projection + p);
            for (long j = 0; j < wide; j++) {
                panel d = load(grad_y + (i * wide + j) * c + p);
                if (pooled) {
                    const long corner = (2 * i * width + 2 * j) * c + p;
                    panel r[4], u[4];
                    load_window(x + corner, width, c, scale, shift, rectified, r, u);
                    const maximum largest = maximum_of_four(u, r);
                    d *= activation_derivative(largest.value, activation);
                    for (int k = 0; k < 4; k++)
                        store(grad_x + corner + (k / 2 * width + k % 2) * c,
                              input_gradient(scale, choose(largest.index == k, d, broadcast(0)), r[k], grad_mean,
                                             projection, mean, rectified));
                } else {
                    panel r = relu_if(rectified, load(x + (i * wide + j) * c + p));
                    d = rounded(d * activation_derivative(scale * r + shift, activation));
                    store(grad_x + (i * wide + j) * c + p,
                          input_gradient(scale, d, r, grad_mean, projection, mean, rectified));
                }
            }
        }
    if (pooled) /* rows and columns that no window covers took part in the statistics */
        for (long i = 0; i < height; i++)
            for (long j = i < 2 * high ? 2 * wide : 0; j < width; j++)
                for (long p = 0; p < c; p += LANES) {
                    panel r = relu_if(rectified, load(x + (i * width + j) * c + p));
                    store(grad_x + (i * width + j) * c + p, /* −0 and not 0: −0 − x is −x also where x is 0 */
                          input_gradient(load(n->scale + p), broadcast(-0.0f), r, load(s->grad_mean + p),
                                         load(s->projection + p), load(s->mean + p), rectified));
                }
}

/* ∂x, given Σ∂u / n (grad_mean) and inv_std² · Σ∂u·(r − mean) / n (projection) of each channel. */
void foveal_normalise_back(const normalisation *n, const float *grad_output, const float *mean, const float *grad_mean,
                           const float *projection, float *grad_input)
{
    const statistics s = {mean, grad_mean, projection};
#pragma omp parallel for num_threads(n->threads) schedule(static)
    for (long image = 0; image < n->images; image++) {
#define RUN(rectified, pooled, activation) \
    normalise_image_back(n, n->input + image * input_size(n), grad_output + image * output_size(n), &s, \
                         grad_input + image * input_size(n), rectified, pooled, activation)
        SPECIALISED(n, RUN)
#undef RUN
    }
}
