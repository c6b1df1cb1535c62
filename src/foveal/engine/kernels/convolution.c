/* 3×3 convolutions with padding 1, forward and backward. In plain loops:
 *
 *     y[n][i][j][o] = bias[o] + Σ_{k,l<3} Σ_c x[n][i + k − 1][j + l − 1][c] · g[o][k][l][c],
 *
 * x being zero outside the image; then, if asked, the maxima of 2×2 windows. Each thread takes its share of the images,
 * a chunk at a time: their transformed tiles stay in its core's cache (winograd.h says which transforms there are).
 */

#include "first_layer.h"
#include "product.h"
#include "winograd.h"

/* What both directions take. */
typedef struct {
    long images, height, width, in_channels, out_channels;
    long chunk;          /* images whose tiles are transformed together */
    const float *input;  /* x (images, height, width, in); null: the first layer's maps are x */
    first_layer layer;
    const float *weight; /* g (out, 3, 3, in) */
    float *memory;       /* as many floats as foveal_convolution_memory says */
    int threads;
} convolution;

/* What the forward direction makes. */
typedef struct {
    const float *bias; /* (out), or null */
    float *output;     /* y (images, height, width, out), height and width halved and rounded down under pooling */
    int32_t *argmax;   /* (images, tiles, out), or null: no pooling; see winograd.h */
    double *sums;      /* (threads, 2, out), zeroed by the caller: sums and sums of squares of y */
    int rectified;     /* sums are of the positive parts of y */
} convolution_results;

/* What the backward direction takes and makes. */
typedef struct {
    float *grad_output; /* ∂y, only read */
    int32_t *argmax;    /* what the forward direction wrote, only read */
    float *grad_input;  /* ∂x, or null: not wanted */
    float *grad_weight; /* ∂g */
    float *grad_bias;   /* (out), or null: not wanted */
} convolution_gradients;

static grid grid_of(const convolution *c)
{
    return (grid){c->height, c->width, c->in_channels / LANES, c->out_channels / LANES,
                  (c->height + 3) / 4, (c->width + 3) / 4, c->chunk};
}

/* A thread's working memory: tiles of inputs and outputs, and the first layer's maps with two rows of its pixels. */
typedef struct {
    float *v, *w, *maps, *scaled;
} workspace;

static long maps_size(const convolution *c) { return c->chunk * c->height * c->width * c->in_channels; }

static long workspace_size(const convolution *c, const grid *g)
{
    long maps = c->layer.pixels ? maps_size(c) + 2 * c->width * c->layer.channels : 0;
    return PLACES * (place_stride(g, g->in) + place_stride(g, g->out)) + (maps + LANES - 1) / LANES * LANES;
}

static workspace workspace_of(const convolution *c, const grid *g, float *memory, int thread)
{
    float *v = memory + thread * workspace_size(c, g), *w = v + PLACES * place_stride(g, g->in);
    float *maps = w + PLACES * place_stride(g, g->out);
    return (workspace){v, w, maps, maps + maps_size(c)};
}

/* Floats of working memory that a call needs. */
long foveal_convolution_memory(const convolution *c, int backward)
{
    const grid g = grid_of(c);
    long weight = PLACES * weight_stride(c->in_channels, c->out_channels);
    return weight + c->threads * (workspace_size(c, &g) + (backward ? weight + c->out_channels : 0));
}

/* Values of images from `begin` on. */
static outputs outputs_of(const convolution *c, const grid *g, long begin, float *values, int32_t *argmax)
{
    long height = argmax ? c->height / 2 : c->height, width = argmax ? c->width / 2 : c->width;
    return (outputs){height, width, c->out_channels, values + begin * height * width * c->out_channels,
                     argmax ? argmax + begin * g->down * g->across * c->out_channels : 0};
}

/* V of n images from `begin` on. */
static void load_input(const convolution *c, const grid *g, long begin, long n, const workspace *space)
{
    const float *x = space->maps;
    if (c->layer.pixels)
        compute_first_layer(&c->layer, begin, n, c->height, c->width, c->in_channels, space->maps, space->scaled);
    else
        x = c->input + begin * c->height * c->width * c->in_channels;
    transform_input(g, x, n, space->v);
}

INLINE long smaller(long a, long b) { return a < b ? a : b; }

void foveal_convolution(const convolution *c, const convolution_results *results)
{
    const grid g = grid_of(c);
    const long v_step = place_stride(&g, g.in), m_step = place_stride(&g, g.out);
    const long u_step = weight_stride(c->in_channels, c->out_channels);
    float *u = c->memory, *workspaces = u + PLACES * u_step;
    transform_weight(c->weight, c->in_channels, c->out_channels, u, c->threads);
#pragma omp parallel for num_threads(c->threads) schedule(static, 1)
    for (int thread = 0; thread < c->threads; thread++) {
        const workspace space = workspace_of(c, &g, workspaces, thread);
        const long end = share_begin(c->images, thread + 1, c->threads);
        for (long begin = share_begin(c->images, thread, c->threads); begin < end; begin += c->chunk) {
            const long n = smaller(c->chunk, end - begin), tiles = n * g.down * g.across;
            load_input(c, &g, begin, n, &space);
            for (long k = 0; k < PLACES; k++)
                multiply(tiles, g.in, g.out, space.v + k * v_step, u + k * u_step, space.w + k * m_step);
            const outputs y = outputs_of(c, &g, begin, results->output, results->argmax);
            double *sums = results->sums + thread * 2 * c->out_channels;
            transform_output(&g, space.w, results->bias, n, results->rectified, &y, sums);
        }
    }
}

void foveal_convolution_back(const convolution *c, const convolution_gradients *gradients)
{
    const grid g = grid_of(c);
    const long v_step = place_stride(&g, g.in), w_step = place_stride(&g, g.out);
    const long u_step = weight_stride(c->in_channels, c->out_channels);
    float *u = c->memory, *grad_us = u + PLACES * u_step, *biases = grad_us + c->threads * PLACES * u_step;
    float *workspaces = biases + c->threads * c->out_channels, *grad_input = gradients->grad_input;
    if (grad_input) transform_weight_back(c->weight, c->in_channels, c->out_channels, u, c->threads);
#pragma omp parallel for num_threads(c->threads) schedule(static, 1)
    for (int thread = 0; thread < c->threads; thread++) {
        const workspace space = workspace_of(c, &g, workspaces, thread);
        float *grad_u = grad_us + thread * PLACES * u_step, *bias = biases + thread * c->out_channels;
        memset(grad_u, 0, sizeof(float) * (size_t)(PLACES * u_step));
        memset(bias, 0, sizeof(float) * (size_t)c->out_channels);
        const long end = share_begin(c->images, thread + 1, c->threads);
        for (long begin = share_begin(c->images, thread, c->threads); begin < end; begin += c->chunk) {
            const long n = smaller(c->chunk, end - begin), tiles = n * g.down * g.across;
            const outputs grad_y = outputs_of(c, &g, begin, gradients->grad_output, gradients->argmax);
            transform_output_back(&g, &grad_y, n, space.w, gradients->grad_bias ? bias : 0);
            load_input(c, &g, begin, n, &space);
            for (long k = 0; k < PLACES; k++) {
                float *v = space.v + k * v_step, *w = space.w + k * w_step;
                multiply_transposed(tiles, g.out, g.in, w, v, grad_u + k * u_step);
                if (grad_input) multiply(tiles, g.out, g.in, w, u + k * u_step, v); /* V is not needed any more */
            }
            if (grad_input)
                transform_input_back(&g, space.v, n, grad_input + begin * c->height * c->width * c->in_channels);
        }
    }
    transform_weight_gradient(grad_us, c->in_channels, c->out_channels, c->threads, gradients->grad_weight);
    if (gradients->grad_bias)
        for (long o = 0; o < c->out_channels; o++) {
            float sum = 0;
            for (int thread = 0; thread < c->threads; thread++) sum += biases[thread * c->out_channels + o];
            gradients->grad_bias[o] = sum;
        }
}
