/* Foveal's own kernels: 3×3 convolutions by Winograd's algorithm, and everything that stands around them in a
 * network (bias, rectification, pooling, batch normalisation, activation), forward and backward, in as few passes
 * over memory as possible.
 *
 * Images are float (N, H, W, C), contiguous, C a multiple of 16. A "panel" is 16 channels, one AVX-512 register;
 * the compiler splits it where registers are shorter. Work is divided among threads by whole images and sums are
 * added in a fixed order, so that results depend on the number of threads but never on their timing.
 *
 * Winograd's F(4×4, 3×3) (Lavin and Gray 2016, arXiv:1509.09308): 4×4 outputs from 6×6 inputs with 36
 * multiplications a pair of channels instead of 144. With d an input tile, g a kernel and y an output tile,
 *
 *     V = Bᵀ d B,   U = G g Gᵀ,   M = Σ_channels U ⊙ V,   y = Aᵀ M A,
 *
 * and the derivatives are the transposes of these linear maps:
 *
 *     W = A ∂y Aᵀ,   ∂U = Σ_tiles V ⊙ W,   ∂g = Gᵀ ∂U G,   ∂V = Σ_channels U ⊙ W,   ∂d = B ∂V Bᵀ.
 *
 * For each of the 36 places of a tile the sum over channels or tiles is a matrix product. Transformed tiles
 * are stored as [36][panel][tile][16], so that these products read everything in order.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float panel __attribute__((vector_size(64)));
typedef int32_t ints __attribute__((vector_size(64)));
typedef double doubles __attribute__((vector_size(128)));

const char *const foveal_compiler = __VERSION__;

#define LANES 16
#define PLACES 36
#define INLINE static inline __attribute__((always_inline))

/* Tiles a matrix product takes at once, and panels of output: as many sums as registers can hold. */
#if defined(__AVX512F__)
#define ROWS 8
#define COLUMNS 2
#else
#define ROWS 4
#define COLUMNS 1
#endif

INLINE panel load(const float *from) { panel v; memcpy(&v, from, sizeof v); return v; }
INLINE void store(float *to, panel v) { memcpy(to, &v, sizeof v); }
INLINE panel splat(float x) { return x - (panel){0}; }
INLINE panel choose(ints mask, panel a, panel b) { return (panel)(((ints)a & mask) | ((ints)b & ~mask)); }
INLINE void add_up(double *to, panel v) /* to[0 … 15] += v */
{
    doubles sum;
    memcpy(&sum, to, sizeof sum);
    sum += __builtin_convertvector(v, doubles);
    memcpy(to, &sum, sizeof sum);
}
INLINE panel larger(panel a, panel b) { return choose(a > b, a, b); }
INLINE panel positive(panel y) { return choose(y < 0, splat(0), y); } /* NaN stays: else a run that diverged goes on */

/* ---- activations */

enum activation { LINEAR, RELU, SILU };

/* eˣ by Cody and Waite's reduction to |x| ≤ ln 2 / 2 and a polynomial; relative error below 2e-7. */
INLINE panel exponential(panel x)
{
    x = choose(x > 88, splat(88), choose(x < -87, splat(-87), x));
    panel shifted = x * 1.44269504f + 12582912.0f; /* adding 1.5·2²³ rounds to the nearest whole number */
    panel whole = shifted - 12582912.0f;
    panel r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    panel e = splat(1.9875691500e-4f);
    e = e * r + 1.3981999507e-3f;
    e = e * r + 8.3334519073e-3f;
    e = e * r + 4.1665795894e-2f;
    e = e * r + 1.6666665459e-1f;
    e = e * r + 5.0000001201e-1f;
    e = e * r * r + r + 1.0f;
    return (panel)((ints)e + (__builtin_convertvector(whole, ints) << 23));
}

INLINE panel sigmoid(panel u) { return 1.0f / (1.0f + exponential(-u)); }

INLINE panel activate(panel u, const int activation)
{
    if (activation == RELU) return positive(u);
    return activation == SILU ? u * sigmoid(u) : u;
}

INLINE panel activation_slope(panel u, const int activation)
{
    if (activation == LINEAR) return splat(1);
    if (activation == RELU) return choose(u > 0, splat(1), splat(0));
    panel s = sigmoid(u);
    return s + u * s * (1.0f - s);
}

/* ---- the linear maps, on columns of six or four panels */

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

INLINE void kernel_map(const panel g[3], panel u[6]) /* G g */
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

INLINE void kernel_map_transposed(const panel u[6], panel g[3]) /* Gᵀ u */
{
    panel a = (u[1] + u[2]) * (-1.0f / 6), c = u[3] + u[4];
    g[0] = u[0] * 0.25f + a + c * (1.0f / 24);
    g[1] = (u[2] - u[1]) * (1.0f / 6) + (u[3] - u[4]) * (1.0f / 12);
    g[2] = a + c * (1.0f / 6) + u[5];
}

/* ---- matrix products over panels */

/* Σ_k a[k·astep + row·arow] · b[k] for `rows` rows and `columns` panels of b, `bcolumn` floats apart. */
INLINE void product_block(long depth, const float *a, long arow, long astep, const float *b, long bcolumn,
                          panel sum[ROWS][COLUMNS], const int rows, const int columns)
{
    for (long k = 0; k < depth; k++) {
        panel right[COLUMNS];
        for (int j = 0; j < columns; j++) right[j] = load(b + k * LANES + j * bcolumn);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) sum[i][j] += a[k * astep + i * arow] * right[j];
    }
}

/* c[tile] = Σ_channel a[tile][channel] · b[channel], all in panels: a (p, tiles, 16), b (q, 16·p, 16), c (q, tiles, 16). */
INLINE void product_rows(long tiles, long p, long q, const float *a, const float *b, float *c, long tile, long column,
                         const int rows, const int columns)
{
    panel sum[ROWS][COLUMNS] = {{{0}}};
    for (long k = 0; k < p; k++)
        product_block(LANES, a + (k * tiles + tile) * LANES, LANES, 1, b + (column * p + k) * LANES * LANES,
                      p * LANES * LANES, sum, rows, columns);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) store(c + ((column + j) * tiles + tile + i) * LANES, sum[i][j]);
    (void)q;
}

static void product(long tiles, long p, long q, const float *a, const float *b, float *c)
{
    long column = 0;
    for (; column + COLUMNS <= q; column += COLUMNS) {
        long tile = 0;
        for (; tile + ROWS <= tiles; tile += ROWS) product_rows(tiles, p, q, a, b, c, tile, column, ROWS, COLUMNS);
        for (; tile < tiles; tile++) product_rows(tiles, p, q, a, b, c, tile, column, 1, COLUMNS);
    }
    for (; column < q; column++) {
        long tile = 0;
        for (; tile + ROWS <= tiles; tile += ROWS) product_rows(tiles, p, q, a, b, c, tile, column, ROWS, 1);
        for (; tile < tiles; tile++) product_rows(tiles, p, q, a, b, c, tile, column, 1, 1);
    }
}

/* c[channel] += Σ_tile a[tile][channel] · b[tile]: a (p, tiles, 16), b (q, tiles, 16), c (q, 16·p, 16). */
INLINE void outer_rows(long tiles, long p, const float *a, const float *b, float *c, long k, int half, long column,
                       const int columns)
{
    panel sum[ROWS][COLUMNS];
    float *to = c + ((column * p + k) * LANES + half) * LANES;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < columns; j++) sum[i][j] = load(to + (j * p * LANES + i) * LANES);
    product_block(tiles, a + k * tiles * LANES + half, 1, LANES, b + column * tiles * LANES, tiles * LANES, sum, ROWS,
                  columns);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < columns; j++) store(to + (j * p * LANES + i) * LANES, sum[i][j]);
}

static void outer_product(long tiles, long p, long q, const float *a, const float *b, float *c)
{
    for (long column = 0; column < q;) {
        int columns = q - column >= COLUMNS ? COLUMNS : 1;
        for (long k = 0; k < p; k++)
            for (int half = 0; half < LANES; half += ROWS)
                if (columns == COLUMNS) outer_rows(tiles, p, a, b, c, k, half, column, COLUMNS);
                else outer_rows(tiles, p, a, b, c, k, half, column, 1);
        column += columns;
    }
}

/* ---- tiles */

typedef struct {
    long images, height, width, in, out; /* shape of the convolution; channels in panels */
    long down, across;                   /* tiles */
    long together;                       /* images whose tiles are transformed at a time */
} shape;

/* Floats from one of the 36 places to the next; the odd line keeps the places out of each other's cache sets. */
INLINE long stride(const shape *s, long panels) { return s->together * s->down * s->across * panels * LANES + LANES; }

INLINE long kernel_stride(long in, long out) { return in * out + LANES; }

static shape make_shape(long images, long height, long width, long in, long out, long together)
{
    shape s = {images, height, width, in / LANES, out / LANES, (height + 3) / 4, (width + 3) / 4, together};
    return s;
}

static void transform_input(const shape *s, const float *x, long n, float *v)
{
    long tiles = n * s->down * s->across, step = stride(s, s->in), c = s->in * LANES, tile = 0;
    for (long image = 0; image < n; image++)
        for (long i = 0; i < s->down; i++)
            for (long j = 0; j < s->across; j++, tile++)
                for (long p = 0; p < s->in; p++) {
                    const float *from = x + ((image * s->height + 4 * i - 1) * s->width + 4 * j - 1) * c + p * LANES;
                    panel half[6][6];
                    for (int column = 0; column < 6; column++) {
                        panel d[6], t[6];
                        int there = (unsigned long)(4 * j - 1 + column) < (unsigned long)s->width;
                        for (int row = 0; row < 6; row++)
                            d[row] = there && (unsigned long)(4 * i - 1 + row) < (unsigned long)s->height
                                         ? load(from + (row * s->width + column) * c)
                                         : splat(0);
                        input_map(d, t);
                        for (int row = 0; row < 6; row++) half[row][column] = t[row];
                    }
                    for (int row = 0; row < 6; row++) {
                        panel t[6];
                        input_map(half[row], t);
                        for (int column = 0; column < 6; column++)
                            store(v + (row * 6 + column) * step + (p * tiles + tile) * LANES, t[column]);
                    }
                }
}

/* ∂x from ∂V; tiles overlap by two, so they are added up. */
static void transform_input_back(const shape *s, const float *v, long n, float *dx)
{
    long tiles = n * s->down * s->across, step = stride(s, s->in), c = s->in * LANES, tile = 0;
    memset(dx, 0, sizeof(float) * (size_t)(n * s->height * s->width * c));
    for (long image = 0; image < n; image++)
        for (long i = 0; i < s->down; i++)
            for (long j = 0; j < s->across; j++, tile++)
                for (long p = 0; p < s->in; p++) {
                    float *to = dx + ((image * s->height + 4 * i - 1) * s->width + 4 * j - 1) * c + p * LANES;
                    panel half[6][6];
                    for (int column = 0; column < 6; column++) {
                        panel t[6], d[6];
                        for (int row = 0; row < 6; row++)
                            t[row] = load(v + (row * 6 + column) * step + (p * tiles + tile) * LANES);
                        input_map_transposed(t, d);
                        for (int row = 0; row < 6; row++) half[row][column] = d[row];
                    }
                    for (int row = 0; row < 6; row++) {
                        if ((unsigned long)(4 * i - 1 + row) >= (unsigned long)s->height) continue;
                        panel d[6];
                        input_map_transposed(half[row], d);
                        for (int column = 0; column < 6; column++)
                            if ((unsigned long)(4 * j - 1 + column) < (unsigned long)s->width) {
                                float *place = to + (row * s->width + column) * c;
                                store(place, load(place) + d[column]);
                            }
                    }
                }
}

/* Outputs from M, with the bias added; pooled 2×2 if `chosen` is there, which then gets, for each tile and channel, which
 * of the four was largest in each of its four windows, in two bits each.
 * `sums` gets the sum and the sum of squares of each channel, of the outputs or, if asked, of their positive part. */
static void transform_output(const shape *s, const float *m, const float *bias, long n, int rectified, float *y,
                             int32_t *chosen, double *sums)
{
    long tiles = n * s->down * s->across, step = stride(s, s->out), c = s->out * LANES, tile = 0;
    long height = chosen ? s->height / 2 : s->height, width = chosen ? s->width / 2 : s->width;
    for (long image = 0; image < n; image++)
        for (long i = 0; i < s->down; i++)
            for (long j = 0; j < s->across; j++, tile++)
                for (long p = 0; p < s->out; p++) {
                    panel half[4][6], o[4][4], add = bias ? load(bias + p * LANES) : splat(0);
                    for (int column = 0; column < 6; column++) {
                        panel t[6], r[4];
                        for (int row = 0; row < 6; row++)
                            t[row] = load(m + (row * 6 + column) * step + (p * tiles + tile) * LANES);
                        output_map(t, r);
                        for (int row = 0; row < 4; row++) half[row][column] = r[row];
                    }
                    panel sum = splat(0), squares = splat(0);
                    for (int row = 0; row < 4; row++) {
                        output_map(half[row], o[row]);
                        for (int column = 0; column < 4; column++) o[row][column] += add;
                    }
                    if (chosen) {
                        ints code = {0};
                        for (int row = 0; row < 2; row++)
                            for (int column = 0; column < 2; column++) {
                                long place = (image * height + 2 * i + row) * width + 2 * j + column;
                                if (2 * i + row >= height || 2 * j + column >= width) continue;
                                panel best = o[2 * row][2 * column];
                                ints which = {0};
                                for (int k = 1; k < 4; k++) {
                                    panel other = o[2 * row + k / 2][2 * column + k % 2];
                                    ints more = other > best;
                                    best = choose(more, other, best);
                                    which = (more & k) | (~more & which);
                                }
                                store(y + place * c + p * LANES, best);
                                code |= which << (2 * (2 * row + column));
                                if (rectified) best = positive(best);
                                sum += best;
                                squares += best * best;
                            }
                        memcpy(chosen + tile * c + p * LANES, &code, sizeof code);
                    } else {
                        for (int row = 0; row < 4; row++)
                            for (int column = 0; column < 4; column++) {
                                if (4 * i + row >= height || 4 * j + column >= width) continue;
                                panel each = o[row][column];
                                store(y + ((image * height + 4 * i + row) * width + 4 * j + column) * c + p * LANES, each);
                                if (rectified) each = positive(each);
                                sum += each;
                                squares += each * each;
                            }
                    }
                    if (sums) add_up(sums + p * LANES, sum), add_up(sums + c + p * LANES, squares);
                }
}

/* W from ∂y (of the pooled outputs, if `chosen` is there); `bias` gets Σ∂y. */
static void transform_output_back(const shape *s, const float *dy, const int32_t *chosen, long n, float *w, float *bias)
{
    long tiles = n * s->down * s->across, step = stride(s, s->out), c = s->out * LANES, tile = 0;
    long height = chosen ? s->height / 2 : s->height, width = chosen ? s->width / 2 : s->width;
    for (long image = 0; image < n; image++)
        for (long i = 0; i < s->down; i++)
            for (long j = 0; j < s->across; j++, tile++)
                for (long p = 0; p < s->out; p++) {
                    panel o[4][4], half[6][4], sum = splat(0);
                    if (chosen) {
                        ints code;
                        memcpy(&code, chosen + tile * c + p * LANES, sizeof code);
                        for (int row = 0; row < 2; row++)
                            for (int column = 0; column < 2; column++) {
                                int there = 2 * i + row < height && 2 * j + column < width;
                                long place = ((image * height + 2 * i + row) * width + 2 * j + column) * c + p * LANES;
                                panel d = there ? load(dy + place) : splat(0);
                                ints which = code >> (2 * (2 * row + column)) & 3;
                                for (int k = 0; k < 4; k++)
                                    o[2 * row + k / 2][2 * column + k % 2] = choose(which == k, d, splat(0));
                                sum += d;
                            }
                    } else {
                        for (int row = 0; row < 4; row++)
                            for (int column = 0; column < 4; column++) {
                                int there = 4 * i + row < height && 4 * j + column < width;
                                long place = ((image * height + 4 * i + row) * width + 4 * j + column) * c + p * LANES;
                                o[row][column] = there ? load(dy + place) : splat(0);
                                sum += o[row][column];
                            }
                    }
                    if (bias) store(bias + p * LANES, load(bias + p * LANES) + sum);
                    for (int column = 0; column < 4; column++) {
                        panel t[4] = {o[0][column], o[1][column], o[2][column], o[3][column]}, r[6];
                        output_map_transposed(t, r);
                        for (int row = 0; row < 6; row++) half[row][column] = r[row];
                    }
                    for (int row = 0; row < 6; row++) {
                        panel r[6];
                        output_map_transposed(half[row], r);
                        for (int column = 0; column < 6; column++)
                            store(w + (row * 6 + column) * step + (p * tiles + tile) * LANES, r[column]);
                    }
                }
}

/* U of kernels g (rows, 3, 3, 16·columns) with its panels along the columns: (36, columns, rows, 16). */
INLINE void transform_kernel_panel(const panel g[3][3], float *u, long step)
{
    panel half[6][3];
    for (int column = 0; column < 3; column++) {
        panel t[3] = {g[0][column], g[1][column], g[2][column]}, r[6];
        kernel_map(t, r);
        for (int row = 0; row < 6; row++) half[row][column] = r[row];
    }
    for (int row = 0; row < 6; row++) {
        panel r[6];
        kernel_map(half[row], r);
        for (int column = 0; column < 6; column++) store(u + (row * 6 + column) * step, r[column]);
    }
}

/* Kernels are (out, 3, 3, in) in memory. Forward the panels run along `out`, backward along `in`. */
static void transform_kernels(const float *g, long in, long out, int backward, float *u, int threads)
{
    long step = kernel_stride(in, out);
    if (backward) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (long o = 0; o < out; o++)
            for (long p = 0; p < in / LANES; p++) {
                panel k[3][3];
                for (int i = 0; i < 9; i++) k[i / 3][i % 3] = load(g + (o * 9 + i) * in + p * LANES);
                transform_kernel_panel(k, u + (p * out + o) * LANES, step);
            }
    } else {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (long c = 0; c < in; c++)
            for (long p = 0; p < out / LANES; p++) {
                panel k[3][3];
                for (int i = 0; i < 9; i++)
                    for (int lane = 0; lane < LANES; lane++)
                        k[i / 3][i % 3][lane] = g[((p * LANES + lane) * 9 + i) * in + c];
                transform_kernel_panel(k, u + (p * in + c) * LANES, step);
            }
    }
}

/* ---- a first layer, computed from the bytes whenever its maps are needed: they are never written whole */

typedef struct {
    const uint8_t *pixels; /* (images, height, width, channels), or null: the maps are given */
    long channels;
    const float *filters, *bias; /* (2, 2, channels, in), of pixels from 0 to 1; (in) */
    int activation;
} source;

/* Maps act(filters · 2×2 patch + bias); beyond the right and lower border the patch is zero. `row` holds two rows. */
static void maps_from_pixels(const shape *s, const source *from, long first, long n, float *maps, float *row)
{
    long c = from->channels, in = s->in * LANES, line = s->width * c;
    for (long i = first * s->height; i < (first + n) * s->height; i++) {
        int last = i % s->height == s->height - 1;
        for (long k = 0; k < (last ? 1 : 2); k++)
            for (long j = 0; j < line; j++) row[k * line + j] = (float)from->pixels[(i + k) * line + j] * (1.0f / 255);
        for (long j = 0; j < s->width; j++)
            for (long p = 0; p < in; p += LANES) {
                panel sum = load(from->bias + p);
                long taps = (j < s->width - 1 ? 2 : 1) * c;
                for (long k = 0; k < (last ? 1 : 2); k++)
                    for (long t = 0; t < taps; t++)
                        sum += row[k * line + j * c + t] * load(from->filters + (k * 2 * c + t) * in + p);
                sum = from->activation == SILU ? activate(sum, SILU) : from->activation == RELU ? activate(sum, RELU) : sum;
                store(maps + ((i - first * s->height) * s->width + j) * in + p, sum);
            }
    }
}

/* ---- convolution */

INLINE long share(long images, int thread, int threads) { return images * thread / threads; }

/* Floats that a thread needs for tiles, and, with pixels of so many channels, for the first layer's maps. */
static long tiles_memory(const shape *s, long channels)
{
    long maps = channels ? s->together * s->height * s->width * s->in * LANES + 2 * s->width * channels : 0;
    return PLACES * (stride(s, s->in) + stride(s, s->out)) + (maps + LANES - 1) / LANES * LANES;
}

/* Floats of working memory for each call. */
long foveal_convolution_memory(long images, long height, long width, long in, long out, long together, int threads,
                               int backward, long channels)
{
    shape s = make_shape(images, height, width, in, out, together);
    long tiles = tiles_memory(&s, channels), kernels = PLACES * kernel_stride(in, out);
    return backward ? kernels + threads * (tiles + kernels + out) : kernels + threads * tiles;
}

/* y = x * g + bias, pooled if `chosen` is there. x (images, height, width, in), y (…, out), g (out, 3, 3, in); if `bytes`
 * are there, x is the first layer's maps of them, see maps_from_pixels, and `channels` is not 0; sums double (threads, 2, out), zeroed by the caller, or null. */
void foveal_convolution(long images, long height, long width, long in, long out, long together, int threads,
                        const float *x, const uint8_t *bytes, long channels, const float *filters, const float *shifts,
                        int activation, const float *g, const float *bias, int rectified, float *y, int32_t *chosen,
                        double *sums, float *memory)
{
    source from = {bytes, channels, filters, shifts, activation};
    shape s = make_shape(images, height, width, in, out, together);
    long vstep = stride(&s, s.in), mstep = stride(&s, s.out), pixels = height * width;
    long made = chosen ? (height / 2) * (width / 2) : pixels;
    float *u = memory;
    transform_kernels(g, in, out, 0, u, threads);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; thread++) {
        float *v = memory + PLACES * kernel_stride(in, out) + thread * tiles_memory(&s, channels);
        float *m = v + PLACES * vstep, *maps = m + PLACES * mstep;
        long end = share(images, thread + 1, threads);
        for (long first = share(images, thread, threads); first < end; first += together) {
            long n = end - first < together ? end - first : together, tiles = n * s.down * s.across;
            if (bytes) maps_from_pixels(&s, &from, first, n, maps, maps + together * pixels * in);
            transform_input(&s, bytes ? maps : x + first * pixels * in, n, v);
            for (long k = 0; k < PLACES; k++)
                product(tiles, s.in, s.out, v + k * vstep, u + k * kernel_stride(in, out), m + k * mstep);
            transform_output(&s, m, bias, n, rectified, y + first * made * out,
                             chosen ? chosen + first * s.down * s.across * out : 0, sums ? sums + thread * 2 * out : 0);
        }
    }
}

/* The derivatives: dx (null: not wanted) like x, dg like g, dbias (out) (null: not wanted). */
void foveal_convolution_back(long images, long height, long width, long in, long out, long together, int threads,
                             const float *x, const uint8_t *bytes, long channels, const float *filters,
                             const float *shifts, int activation, const float *g, const float *dy,
                             const int32_t *chosen, float *dx, float *dg, float *dbias, float *memory)
{
    source from = {bytes, channels, filters, shifts, activation};
    shape s = make_shape(images, height, width, in, out, together);
    long vstep = stride(&s, s.in), wstep = stride(&s, s.out), pixels = height * width, size = kernel_stride(in, out);
    long made = chosen ? (height / 2) * (width / 2) : pixels;
    float *u = memory, *sums = memory + PLACES * size, *biases = sums + threads * PLACES * size;
    float *rest = biases + threads * out;
    if (dx) transform_kernels(g, in, out, 1, u, threads);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; thread++) {
        float *v = rest + thread * tiles_memory(&s, channels);
        float *w = v + PLACES * vstep, *maps = w + PLACES * wstep;
        float *du = sums + thread * PLACES * size, *db = biases + thread * out;
        memset(du, 0, sizeof(float) * (size_t)(PLACES * size));
        memset(db, 0, sizeof(float) * (size_t)out);
        long end = share(images, thread + 1, threads);
        for (long first = share(images, thread, threads); first < end; first += together) {
            long n = end - first < together ? end - first : together, tiles = n * s.down * s.across;
            transform_output_back(&s, dy + first * made * out, chosen ? chosen + first * s.down * s.across * out : 0, n, w,
                                  dbias ? db : 0);
            if (bytes) maps_from_pixels(&s, &from, first, n, maps, maps + together * pixels * in);
            transform_input(&s, bytes ? maps : x + first * pixels * in, n, v);
            for (long k = 0; k < PLACES; k++) {
                outer_product(tiles, s.out, s.in, w + k * wstep, v + k * vstep, du + k * size);
                if (dx) product(tiles, s.out, s.in, w + k * wstep, u + k * size, v + k * vstep);
            }
            if (dx) transform_input_back(&s, v, n, dx + first * pixels * in);
        }
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long o = 0; o < out; o++)
        for (long p = 0; p < s.in; p++) {
            panel half[3][6];
            for (int column = 0; column < 6; column++) {
                panel t[6], r[3];
                for (int row = 0; row < 6; row++) {
                    const float *from = sums + (row * 6 + column) * size + (p * out + o) * LANES;
                    t[row] = load(from);
                    for (int thread = 1; thread < threads; thread++) t[row] += load(from + thread * PLACES * size);
                }
                kernel_map_transposed(t, r);
                for (int row = 0; row < 3; row++) half[row][column] = r[row];
            }
            for (int row = 0; row < 3; row++) {
                panel r[3];
                kernel_map_transposed(half[row], r);
                for (int column = 0; column < 3; column++)
                    store(dg + ((o * 3 + row) * 3 + column) * in + p * LANES, r[column]);
            }
        }
    if (dbias)
        for (long o = 0; o < out; o++) {
            dbias[o] = 0;
            for (int thread = 0; thread < threads; thread++) dbias[o] += biases[thread * out + o];
        }
}

/* ---- batch normalisation with what stands around it
 *
 * r = max(y, 0) if rectified, else y;  u = scale · r + shift;  z = act(u), pooled 2×2 by the maximum if asked.
 * y is (images, height, width, channels); z and ∂z are half as high and wide if pooled, rounded down.
 */

INLINE panel rectify(panel y, const int rectified) { return rectified ? positive(y) : y; }

/* Sum and sum of squares of each channel: sums double (threads, 2, channels), zeroed by the caller. */
void foveal_sums(long images, long pixels, long channels, int threads, const float *y, int rectified, double *sums)
{
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; thread++) {
        double *to = sums + thread * 2 * channels;
        for (long image = share(images, thread, threads); image < share(images, thread + 1, threads); image++)
            for (long p = 0; p < channels; p += LANES) {
                panel sum = splat(0), squares = splat(0);
                for (long i = 0; i < pixels; i++) {
                    panel r = rectify(load(y + (image * pixels + i) * channels + p), rectified);
                    sum += r;
                    squares += r * r;
                }
                add_up(to + p, sum), add_up(to + channels + p, squares);
            }
    }
}

/* The combinations that our networks have are compiled by themselves; the last line does any. */
#define SPECIALISED(rectified, pooled, activation, RUN) \
    if (rectified && !pooled && activation == LINEAR) RUN(1, 0, LINEAR); \
    else if (rectified && pooled && activation == LINEAR) RUN(1, 1, LINEAR); \
    else if (!rectified && !pooled && activation == SILU) RUN(0, 0, SILU); \
    else RUN(rectified, pooled, activation);

INLINE void normalise_image(long height, long width, long c, const float *y, const float *scale, const float *shift,
                            float *z, const int rectified, const int pooled, const int activation)
{
    if (pooled)
        for (long i = 0; i < height / 2; i++)
            for (long j = 0; j < width / 2; j++)
                for (long p = 0; p < c; p += LANES) {
                    const float *from = y + (2 * i * width + 2 * j) * c + p;
                    panel a = load(scale + p), b = load(shift + p), best = splat(0);
                    for (int k = 0; k < 4; k++) {
                        panel u = a * rectify(load(from + (k / 2 * width + k % 2) * c), rectified) + b;
                        best = k ? larger(u, best) : u;
                    }
                    store(z + (i * (width / 2) + j) * c + p, activate(best, activation));
                }
    else
        for (long i = 0; i < height * width; i++)
            for (long p = 0; p < c; p += LANES) {
                panel u = load(scale + p) * rectify(load(y + i * c + p), rectified) + load(shift + p);
                store(z + i * c + p, activate(u, activation));
            }
}

void foveal_normalise(long images, long height, long width, long c, int threads, const float *y, const float *scale,
                      const float *shift, int rectified, int pooled, int activation, float *z)
{
    long size = height * width * c, made = pooled ? (height / 2) * (width / 2) * c : size;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long image = 0; image < images; image++) {
        const float *from = y + image * size;
        float *to = z + image * made;
#define RUN(R, P, A) normalise_image(height, width, c, from, scale, shift, to, R, P, A)
        SPECIALISED(rectified, pooled, activation, RUN)
#undef RUN
    }
}

/* One image's part of the derivative. If `dy` is null, `sums` (2, c) gathers Σ∂u and Σ∂u·(r − mean); else
 * dy = scale · (∂u − first − second · (r − mean)), where y was positive or nothing was rectified. */
INLINE void normalise_image_back(long height, long width, long c, const float *y, const float *dz, const float *scale,
                                 const float *shift, const float *mean, const float *first, const float *second,
                                 double *sums, float *dy, const int rectified, const int pooled, const int activation)
{
    long high = pooled ? height / 2 : height, wide = pooled ? width / 2 : width;
    for (long i = 0; i < high; i++)
        for (long p = 0; p < c; p += LANES) {
            panel a = load(scale + p), b = load(shift + p), m = load(mean + p), sum = splat(0), products = splat(0);
            panel f = dy ? load(first + p) : splat(0), g = dy ? load(second + p) : splat(0);
            for (long j = 0; j < wide; j++) {
                panel d = load(dz + (i * wide + j) * c + p);
                if (pooled) {
                    long from = (2 * i * width + 2 * j) * c + p;
                    panel r[4], best = splat(0), highest = splat(0);
                    ints which = {0};
                    for (int k = 0; k < 4; k++) {
                        r[k] = rectify(load(y + from + (k / 2 * width + k % 2) * c), rectified);
                        panel u = a * r[k] + b;
                        ints more = k ? u > best : (ints){0} - 1;
                        best = choose(more, u, best);
                        highest = choose(more, r[k], highest);
                        which = (more & k) | (~more & which);
                    }
                    d *= activation_slope(best, activation);
                    if (dy)
                        for (int k = 0; k < 4; k++) {
                            panel e = a * (choose(which == k, d, splat(0)) - f - g * (r[k] - m));
                            if (rectified) e = choose(r[k] > 0, e, splat(0));
                            store(dy + from + (k / 2 * width + k % 2) * c, e);
                        }
                    else
                        products += d * (highest - m);
                } else {
                    panel r = rectify(load(y + (i * wide + j) * c + p), rectified);
                    d *= activation_slope(a * r + b, activation);
                    if (dy) {
                        panel e = a * (d - f - g * (r - m));
                        if (rectified) e = choose(r > 0, e, splat(0));
                        store(dy + (i * wide + j) * c + p, e);
                    } else
                        products += d * (r - m);
                }
                sum += d;
            }
            if (!dy) add_up(sums + p, sum), add_up(sums + c + p, products);
        }
    if (dy && pooled) /* rows and columns that no window covers took part in the statistics */
        for (long i = 0; i < height; i++)
            for (long j = i < 2 * high ? 2 * wide : 0; j < width; j++)
                for (long p = 0; p < c; p += LANES) {
                    panel r = rectify(load(y + (i * width + j) * c + p), rectified);
                    panel e = load(scale + p) * (-load(first + p) - load(second + p) * (r - load(mean + p)));
                    if (rectified) e = choose(r > 0, e, splat(0));
                    store(dy + (i * width + j) * c + p, e);
                }
}

/* The derivative in two calls: first with dy null, for the sums (threads, 2, c), zeroed by the caller; then for dy. */
void foveal_normalise_back(long images, long height, long width, long c, int threads, const float *y, const float *dz,
                           const float *scale, const float *shift, const float *mean, const float *first,
                           const float *second, int rectified, int pooled, int activation, double *sums, float *dy)
{
    long size = height * width * c, made = pooled ? (height / 2) * (width / 2) * c : size;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int thread = 0; thread < threads; thread++)
        for (long image = share(images, thread, threads); image < share(images, thread + 1, threads); image++) {
#define RUN(R, P, A) \
    normalise_image_back(height, width, c, y + image * size, dz + image * made, scale, shift, mean, first, second, \
                         sums + thread * 2 * c, dy ? dy + image * size : 0, R, P, A)
            SPECIALISED(rectified, pooled, activation, RUN)
#undef RUN
        }
}

/* ---- dropout */

/* z = x / (1 − rate) where a hash of place and seed falls above the rate, else 0. Its own derivative. */
void foveal_dropout(long n, const float *x, uint32_t seed, float rate, float *z)
{
    uint32_t limit = (uint32_t)(rate * 4294967296.0f);
    float scale = 1.0f / (1.0f - rate);
    for (long i = 0; i < n; i++) {
        uint32_t h = (uint32_t)i * 0x9e3779b9u ^ seed; /* then a 32-bit finaliser: each input bit flips half of the output */
        h = (h ^ h >> 16) * 0x21f0aaadu;
        h = (h ^ h >> 15) * 0xd35a2d97u;
        h ^= h >> 15;
        z[i] = h >= limit ? x[i] * scale : 0.0f;
    }
}

/* ---- images */

/* Image n is put together from image rows[n] of `pixels` (…, size, size, channels): row i from its row down[n][i],
 * column j from its column across[n][j]; then shrink × shrink pixels become their mean, halves rounded up. */
void foveal_crops(long images, long size, long channels, long shrink, int threads, const uint8_t *pixels,
                  const int64_t *rows, const int64_t *down, const int64_t *across, uint8_t *made)
{
    long small = size / shrink, area = shrink * shrink;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long n = 0; n < images; n++) {
        const uint8_t *image = pixels + rows[n] * size * size * channels;
        const int64_t *line = down + n * size, *place = across + n * size;
        uint8_t *to = made + n * small * small * channels;
        for (long i = 0; i < small; i++)
            for (long j = 0; j < small; j++)
                for (long c = 0; c < channels; c++) {
                    long sum = 0;
                    for (long k = 0; k < shrink; k++)
                        for (long l = 0; l < shrink; l++)
                            sum += image[(line[i * shrink + k] * size + place[j * shrink + l]) * channels + c];
                    *to++ = (uint8_t)(shrink == 1 ? sum : (2 * sum + area) / (2 * area));
                }
    }
}

/* ---- optimizers */

/* v ← ρ·v + (1 − ρ)·g²;  w ← w − rate·g / √(v + ε), with g the gradient plus decay·w. */
void foveal_rmsprop(long n, float *w, const float *gradient, float *v, float rate, float rho, float epsilon, float decay)
{
    for (long i = 0; i < n; i++) {
        float g = gradient[i] + decay * w[i];
        v[i] = rho * v[i] + (1 - rho) * g * g;
        w[i] -= rate * g / sqrtf(v[i] + epsilon);
    }
}

/* m ← β₁·m + (1 − β₁)·g;  v ← β₂·v + (1 − β₂)·g²;  w ← w − rate·m / (√v + ε): the rate holds the bias correction. */
void foveal_adam(long n, float *w, const float *gradient, float *m, float *v, float rate, float beta_1, float beta_2,
                 float epsilon, float decay)
{
    for (long i = 0; i < n; i++) {
        float g = gradient[i] + decay * w[i];
        m[i] = beta_1 * m[i] + (1 - beta_1) * g;
        v[i] = beta_2 * v[i] + (1 - beta_2) * g * g;
        w[i] -= rate * m[i] / (sqrtf(v[i]) + epsilon);
    }
}

/* s = x xᵀ for x (panels, m, 16), m a multiple of 4: blocks of 4×4 sums on and below the diagonal, mirrored above. */
static void square(long m, long panels, const float *x, float *s)
{
    for (long i = 0; i < m; i += 4)
        for (long j = 0; j <= i; j += 4) {
            panel sum[4][4] = {{{0}}};
            for (long p = 0; p < panels; p++)
                for (int k = 0; k < 4; k++)
                    for (int l = 0; l < 4; l++)
                        sum[k][l] += load(x + (p * m + i + k) * LANES) * load(x + (p * m + j + l) * LANES);
            for (int k = 0; k < 4; k++)
                for (int l = 0; l < 4; l++) {
                    float total = 0;
                    for (int lane = 0; lane < LANES; lane++) total += sum[k][l][lane];
                    s[(i + k) * m + j + l] = s[(j + l) * m + i + k] = total;
                }
        }
}

/* y = a · x + t x for x and y (panels, m, 16), t (m, m). */
static void combine(long m, long panels, float a, const float *t, const float *x, float *y)
{
    for (long p = 0; p < panels; p++)
        for (long i = 0; i < m; i += ROWS) {
            panel sum[ROWS][COLUMNS];
            for (int k = 0; k < ROWS; k++) sum[k][0] = a * load(x + (p * m + i + k) * LANES);
            product_block(m, t + i * m, m, 1, x + p * m * LANES, 0, sum, ROWS, 1);
            for (int k = 0; k < ROWS; k++) store(y + (p * m + i + k) * LANES, sum[k][0]);
        }
}

static void orthogonalise(long m, long n, float *matrix, int iterations, float *memory)
{
    const float a = 3.4445f, b = -4.7750f, c = 2.0315f;
    long panels = n / LANES;
    float *x = memory, *y = x + m * n, *s = y + m * n, *t = s + m * m;
    double squares = 0;
    for (long i = 0; i < m * n; i++) squares += (double)matrix[i] * matrix[i];
    float scale = 1.0f / ((float)sqrt(squares) + 1e-7f);
    for (long p = 0; p < panels; p++)
        for (long i = 0; i < m; i++) store(x + (p * m + i) * LANES, scale * load(matrix + i * n + p * LANES));
    for (int iteration = 0; iteration < iterations; iteration++) {
        square(m, panels, x, s);
        for (long i = 0; i < m; i++) /* t = b · s + c · s s */
            for (long p = 0; p < m; p += LANES) {
                panel sum = splat(0);
                for (long k = 0; k < m; k++) sum += s[i * m + k] * load(s + k * m + p);
                store(t + i * m + p, b * load(s + i * m + p) + c * sum);
            }
        combine(m, panels, a, t, x, y);
        float *made = y;
        y = x;
        x = made;
    }
    for (long p = 0; p < panels; p++)
        for (long i = 0; i < m; i++) store(matrix + i * n + p * LANES, load(x + (p * m + i) * LANES));
}

/* Bring matrices (rows, columns) near the closest orthogonal ones, each in its place: X ← a·X + (b·S + c·S S) X with
 * S = X Xᵀ (Jordan 2024, kellerjordan.github.io/posts/muon). Rows and columns are multiples of 16; memory holds
 * 2 · rows · (rows + columns) floats for each. */
void foveal_orthogonalise(long count, const long *rows, const long *columns, float *const *matrices, int iterations,
                          float *const *memory, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (long i = count - 1; i >= 0; i--) orthogonalise(rows[i], columns[i], matrices[i], iterations, memory[i]);
}
