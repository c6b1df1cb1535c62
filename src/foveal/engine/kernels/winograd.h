/* The transforms of Winograd's F(4×4, 3×3) (Lavin and Gray 2016, arXiv:1509.09308): 4×4 outputs from 6×6 inputs with
 * 36 multiplications a pair of channels instead of 144. With d an input tile, g the weight of a pair of channels and y
 * an output tile,
 *
 *     V = Bᵀ d B,   U = G g Gᵀ,   M = Σ_channels U ⊙ V,   y = Aᵀ M A,
 *
 * and the derivatives are the transposes of these linear maps:
 *
 *     W = A ∂y Aᵀ,   ∂U = Σ_tiles V ⊙ W,   ∂g = Gᵀ ∂U G,   ∂V = Σ_channels U ⊙ W,   ∂d = B ∂V Bᵀ.
 *
 * For each of the 36 places of a tile the sum over channels or tiles is a matrix product (product.h). Transformed
 * tiles are stored as [36][panel][tile][16], so that these products read everything in order.
 */

#pragma once

#include "panel.h"

#define PLACES 36

/* ---- the linear maps, on columns of six, four or three panels */

INLINE void input_map(const panel d[6], panel v[6]) /* Bᵀ d */
{
    panel a = d[4] - 4 * d[2], b = d[3] - 4 * d[1], c = d[4] - d[2], e = 2 * (d[3] - d[1]);
    v[0] = 4 * d[0] - 5 * d[2] + d[4];
    v[1] = a + b;
    v[2] = a - b;
    v[3] = c + e;
    v[4] = c - e;
    v[5] = 4 * d[1] - 5 * d[3] + d[5];
}

INLINE void input_map_transposed(const panel v[6], panel d[6]) /* B v */
{
    panel a = v[1] + v[2], b = v[1] - v[2], c = v[3] + v[4], e = 2 * (v[3] - v[4]);
    d[0] = 4 * v[0];
    d[1] = 4 * v[5] - 4 * b - e;
    d[2] = -5 * v[0] - 4 * a - c;
    d[3] = b + e - 5 * v[5];
    d[4] = v[0] + a + c;
    d[5] = v[5];
}

INLINE void output_map(const panel m[6], panel y[4]) /* Aᵀ m */
{
    panel a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = 2 * (m[3] - m[4]);
    y[0] = m[0] + a + c;
    y[1] = b + e;
    y[2] = a + 4 * c;
    y[3] = b + 4 * e + m[5];
}

INLINE void output_map_transposed(const panel y[4], panel m[6]) /* A y */
{
    panel a = y[0] + y[2], b = y[1] + y[3], c = y[0] + 4 * y[2], e = 2 * (y[1] + 4 * y[3]);
    m[0] = y[0];
    m[1] = a + b;
    m[2] = a - b;
    m[3] = c + e;
    m[4] = c - e;
    m[5] = y[3];
}

INLINE void weight_map(const panel g[3], panel u[6]) /* G g */
{
    panel a = (g[0] + g[2]) * (-1.0f / 6), b = g[1] * (1.0f / 6);
    panel c = g[0] * (1.0f / 24) + g[2] * (1.0f / 6), e = g[1] * (1.0f / 12);
    u[0] = g[0] * 0.25f;
    u[1] = a - b;
    u[2] = a + b;
    u[3] = c + e;
    u[4] = c - e;
    u[5] = g[2];
}

INLINE void weight_map_transposed(const panel u[6], panel g[3]) /* Gᵀ u */
{
    panel a = (u[1] + u[2]) * (-1.0f / 6), c = u[3] + u[4];
    g[0] = u[0] * 0.25f + a + c * (1.0f / 24);
    g[1] = (u[2] - u[1]) * (1.0f / 6) + (u[3] - u[4]) * (1.0f / 12);
    g[2] = a + c * (1.0f / 6) + u[5];
}

/* ---- tiles */

/* The sizes of images and their tiles of 4×4 pixels. */
typedef struct {
    long height, width, in, out; /* pixels, and channels in panels */
    long down, across;           /* tiles in an image's height and width */
    long chunk;                  /* images whose tiles are transformed together */
} grid;

/* A tile: its number in the chunk, its image there, and its upper left output pixel. */
typedef struct {
    long number, image, top, left;
} tile;

INLINE void next_tile(const grid *g, tile *t)
{
    t->number++;
    if ((t->left += 4) < g->width) return;
    t->left = 0;
    if ((t->top += 4) < g->height) return;
    t->top = 0;
    t->image++;
}

INLINE int inside(long position, long size) { return (unsigned long)position < (unsigned long)size; }

/* Floats from one of the 36 places to the next; the odd line keeps the places out of each other's cache sets. */
INLINE long place_stride(const grid *g, long panels) { return g->chunk * g->down * g->across * panels * LANES + LANES; }

INLINE long weight_stride(long in, long out) { return in * out + LANES; }

/* V from x, for n images. */
static void transform_input(const grid *g, const float *x, long n, float *v)
{
    const long height = g->height, width = g->width, panels = g->in, c = panels * LANES;
    const long tiles = n * g->down * g->across, step = place_stride(g, panels);
    for (tile t = {0}; t.number < tiles; next_tile(g, &t))
        for (long p = 0; p < panels; p++) {
            const long top = t.top - 1, left = t.left - 1;
            const float *from = x + ((t.image * height + top) * width + left) * c + p * LANES;
            panel half[6][6];
            for (int column = 0; column < 6; column++) {
                panel d[6], r[6];
                int column_inside = inside(left + column, width);
                for (int row = 0; row < 6; row++)
                    d[row] = column_inside && inside(top + row, height) ? load(from + (row * width + column) * c)
                                                                        : broadcast(0);
                input_map(d, r);
                for (int row = 0; row < 6; row++) half[row][column] = r[row];
            }
            for (int row = 0; row < 6; row++) {
                panel r[6];
                input_map(half[row], r);
                for (int column = 0; column < 6; column++)
                    store(v + (row * 6 + column) * step + (p * tiles + t.number) * LANES, r[column]);
            }
        }
}

/* ∂x from ∂V, for n images; tiles overlap by two pixels, so they are added up. */
static void transform_input_back(const grid *g, const float *grad_v, long n, float *grad_x)
{
    const long height = g->height, width = g->width, panels = g->in, c = panels * LANES;
    const long tiles = n * g->down * g->across, step = place_stride(g, panels);
    memset(grad_x, 0, sizeof(float) * (size_t)(n * height * width * c));
    for (tile t = {0}; t.number < tiles; next_tile(g, &t))
        for (long p = 0; p < panels; p++) {
            const long top = t.top - 1, left = t.left - 1;
            float *to = grad_x + ((t.image * height + top) * width + left) * c + p * LANES;
            panel half[6][6];
            for (int column = 0; column < 6; column++) {
                panel r[6], d[6];
                for (int row = 0; row < 6; row++)
                    r[row] = load(grad_v + (row * 6 + column) * step + (p * tiles + t.number) * LANES);
                input_map_transposed(r, d);
                for (int row = 0; row < 6; row++) half[row][column] = d[row];
            }
            for (int row = 0; row < 6; row++) {
                if (!inside(top + row, height)) continue;
                panel d[6];
                input_map_transposed(half[row], d);
                for (int column = 0; column < 6; column++)
                    if (inside(left + column, width)) {
                        float *place = to + (row * width + column) * c;
                        store(place, load(place) + d[column]);
                    }
            }
        }
}

/* Outputs of a convolution, or their gradients; height and width are those after pooling. `argmax` is null without
 * pooling; else it holds, for each tile and channel, which of the four was largest in each of the tile's four windows,
 * in two bits each. */
typedef struct {
    long height, width, channels;
    float *values;
    int32_t *argmax;
} outputs;

INLINE float *output_at(const outputs *y, long image, long row, long column, long panel_number)
{
    return y->values + ((image * y->height + row) * y->width + column) * y->channels + panel_number * LANES;
}

INLINE int output_inside(const outputs *y, long row, long column) { return row < y->height && column < y->width; }

/* The four outputs of a window in the order of maximum_of_four. */
#define WINDOW(o, row, column) \
    {o[2 * row][2 * column], o[2 * row][2 * column + 1], o[2 * row + 1][2 * column], o[2 * row + 1][2 * column + 1]}

INLINE moments store_tile(const outputs *y, tile t, long p, panel o[4][4], int rectified)
{
    moments sums = {broadcast(0), broadcast(0)};
    for (int row = 0; row < 4; row++)
        for (int column = 0; column < 4; column++) {
            if (!output_inside(y, t.top + row, t.left + column)) continue;
            store(output_at(y, t.image, t.top + row, t.left + column, p), o[row][column]);
            add_to_moments(&sums, relu_if(rectified, o[row][column]));
        }
    return sums;
}

INLINE moments pool_and_store_tile(const outputs *y, tile t, long p, panel o[4][4], int rectified)
{
    moments sums = {broadcast(0), broadcast(0)};
    int_panel code = {0};
    for (int row = 0; row < 2; row++)
        for (int column = 0; column < 2; column++) {
            if (!output_inside(y, t.top / 2 + row, t.left / 2 + column)) continue;
            const panel window[4] = WINDOW(o, row, column);
            const maximum m = maximum_of_four(window, window);
            store(output_at(y, t.image, t.top / 2 + row, t.left / 2 + column, p), m.value);
            code |= m.index << (2 * (2 * row + column));
            add_to_moments(&sums, relu_if(rectified, m.value));
        }
    memcpy(y->argmax + t.number * y->channels + p * LANES, &code, sizeof code);
    return sums;
}

/* y = Aᵀ M A + bias for n images, pooled if there is an argmax. `sums` (2, channels) gets the sums and the sums of
 * squares of the outputs or, if `rectified`, of their positive parts. */
static void transform_output(const grid *g, const float *m, const float *bias, long n, int rectified,
                             const outputs *to, double *sums)
{
    const outputs y = *to; /* a copy, which no store can change */
    const long tiles = n * g->down * g->across, step = place_stride(g, g->out), panels = g->out;
    for (tile t = {0}; t.number < tiles; next_tile(g, &t))
        for (long p = 0; p < panels; p++) {
            panel half[4][6], o[4][4], shift = bias ? load(bias + p * LANES) : broadcast(0);
            for (int column = 0; column < 6; column++) {
                panel r[6], d[4];
                for (int row = 0; row < 6; row++)
                    r[row] = load(m + (row * 6 + column) * step + (p * tiles + t.number) * LANES);
                output_map(r, d);
                for (int row = 0; row < 4; row++) half[row][column] = d[row];
            }
            for (int row = 0; row < 4; row++) {
                output_map(half[row], o[row]);
                for (int column = 0; column < 4; column++) o[row][column] += shift;
            }
            moments tile_sums = y.argmax ? pool_and_store_tile(&y, t, p, o, rectified)
                                         : store_tile(&y, t, p, o, rectified);
            accumulate_moments(sums + p * LANES, y.channels, &tile_sums);
        }
}

/* The gradients of a tile's outputs, zero beyond the image; returned is their sum. */
INLINE panel load_gradients(const outputs *grad_y, tile t, long p, panel o[4][4])
{
    panel sum = broadcast(0);
    for (int row = 0; row < 4; row++)
        for (int column = 0; column < 4; column++) {
            o[row][column] = output_inside(grad_y, t.top + row, t.left + column)
                                 ? load(output_at(grad_y, t.image, t.top + row, t.left + column, p))
                                 : broadcast(0);
            sum += o[row][column];
        }
    return sum;
}

/* The same under pooling: the gradient of a window goes to its maximum. */
INLINE panel load_pooled_gradients(const outputs *grad_y, tile t, long p, panel o[4][4])
{
    panel sum = broadcast(0);
    int_panel code;
    memcpy(&code, grad_y->argmax + t.number * grad_y->channels + p * LANES, sizeof code);
    for (int row = 0; row < 2; row++)
        for (int column = 0; column < 2; column++) {
            panel d = output_inside(grad_y, t.top / 2 + row, t.left / 2 + column)
                          ? load(output_at(grad_y, t.image, t.top / 2 + row, t.left / 2 + column, p))
                          : broadcast(0);
            int_panel index = code >> (2 * (2 * row + column)) & 3;
            for (int k = 0; k < 4; k++)
                o[2 * row + k / 2][2 * column + k % 2] = choose(index == k, d, broadcast(0));
            sum += d;
        }
    return sum;
}

/* W from ∂y, for n images; Σ∂y is added to grad_bias, unless it is null. */
static void transform_output_back(const grid *g, const outputs *from, long n, float *w, float *grad_bias)
{
    const outputs grad_y = *from;
    const long tiles = n * g->down * g->across, step = place_stride(g, g->out), panels = g->out;
    for (tile t = {0}; t.number < tiles; next_tile(g, &t))
        for (long p = 0; p < panels; p++) {
            panel o[4][4], half[6][4];
            panel sum = grad_y.argmax ? load_pooled_gradients(&grad_y, t, p, o) : load_gradients(&grad_y, t, p, o);
            if (grad_bias) store(grad_bias + p * LANES, load(grad_bias + p * LANES) + sum);
            for (int column = 0; column < 4; column++) {
                panel d[4] = {o[0][column], o[1][column], o[2][column], o[3][column]}, r[6];
                output_map_transposed(d, r);
                for (int row = 0; row < 6; row++) half[row][column] = r[row];
            }
            for (int row = 0; row < 6; row++) {
                panel r[6];
                output_map_transposed(half[row], r);
                for (int column = 0; column < 6; column++)
                    store(w + (row * 6 + column) * step + (p * tiles + t.number) * LANES, r[column]);
            }
        }
}

/* ---- weights */

INLINE void transform_weight_panel(const panel g[3][3], float *u, long step)
{
    panel half[6][3];
    for (int column = 0; column < 3; column++) {
        panel d[3] = {g[0][column], g[1][column], g[2][column]}, r[6];
        weight_map(d, r);
        for (int row = 0; row < 6; row++) half[row][column] = r[row];
    }
    for (int row = 0; row < 6; row++) {
        panel r[6];
        weight_map(half[row], r);
        for (int column = 0; column < 6; column++) store(u + (row * 6 + column) * step, r[column]);
    }
}

/* U (36, out panels, in, 16) from g (out, 3, 3, in). */
static void transform_weight(const float *g, long in, long out, float *u, int threads)
{
    const long step = weight_stride(in, out);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long c = 0; c < in; c++)
        for (long p = 0; p < out / LANES; p++) {
            panel k[3][3];
            for (int i = 0; i < 9; i++)
                for (int lane = 0; lane < LANES; lane++)
                    k[i / 3][i % 3][lane] = g[((p * LANES + lane) * 9 + i) * in + c];
            transform_weight_panel(k, u + (p * in + c) * LANES, step);
        }
}

/* The same for the product with W: U (36, in panels, out, 16). */
static void transform_weight_back(const float *g, long in, long out, float *u, int threads)
{
    const long step = weight_stride(in, out);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long o = 0; o < out; o++)
        for (long p = 0; p < in / LANES; p++) {
            panel k[3][3];
            for (int i = 0; i < 9; i++) k[i / 3][i % 3] = load(g + (o * 9 + i) * in + p * LANES);
            transform_weight_panel(k, u + (p * out + o) * LANES, step);
        }
}

/* ∂g (out, 3, 3, in) from the threads' parts of ∂U, each (36, in panels, out, 16). */
static void transform_weight_gradient(const float *grad_u, long in, long out, int threads, float *grad_g)
{
    const long step = weight_stride(in, out);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long o = 0; o < out; o++)
        for (long p = 0; p < in / LANES; p++) {
            panel half[3][6];
            for (int column = 0; column < 6; column++) {
                panel r[6], d[3];
                for (int row = 0; row < 6; row++) {
                    const float *from = grad_u + (row * 6 + column) * step + (p * out + o) * LANES;
                    r[row] = load(from);
                    for (int thread = 1; thread < threads; thread++) r[row] += load(from + thread * PLACES * step);
                }
                weight_map_transposed(r, d);
                for (int row = 0; row < 3; row++) half[row][column] = d[row];
            }
            for (int row = 0; row < 3; row++) {
                panel d[3];
                weight_map_transposed(half[row], d);
                for (int column = 0; column < 3; column++)
                    store(grad_g + ((o * 3 + row) * 3 + column) * in + p * LANES, d[column]);
            }
        }
}
