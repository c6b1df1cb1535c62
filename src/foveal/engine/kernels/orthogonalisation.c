/* Newton-Schulz iterations for the optimizer Muon (Jordan 2024, kellerjordan.github.io/posts/muon).
 *
 * In matrices: X ← X / ‖X‖, then in each iteration X ← a·X + (b·S + c·S S) X with S = X Xᵀ. The singular values of X
 * come near 1, so X comes near the closest orthogonal matrix.
 */

#include <math.h>

#include "product.h"

/* S = X Xᵀ for x (panels, m, 16), m a multiple of 4: blocks of 4×4 sums on and below the diagonal, mirrored above. */
static void multiply_by_own_transpose(long m, long panels, const float *x, float *s)
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

/* T = b·S + c·S S for s and t (m, m). */
static void combine_square(long m, float b, float c, const float *s, float *t)
{
    for (long i = 0; i < m; i++)
        for (long p = 0; p < m; p += LANES) {
            panel sum = broadcast(0);
            for (long k = 0; k < m; k++) sum += s[i * m + k] * load(s + k * m + p);
            store(t + i * m + p, b * load(s + i * m + p) + c * sum);
        }
}

/* Y = a·X + T X for x and y (panels, m, 16), t (m, m). */
static void combine_product(long m, long panels, float a, const float *t, const float *x, float *y)
{
    for (long p = 0; p < panels; p++)
        for (long i = 0; i < m; i += ROWS) {
            panel sum[ROWS][COLUMNS];
            for (int k = 0; k < ROWS; k++) sum[k][0] = a * load(x + (p * m + i + k) * LANES);
            left_factor left = {t + i * m, m, 1};
            right_factor right = {x + p * m * LANES, 0};
            multiply_block(m, left, right, sum, ROWS, 1);
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
        multiply_by_own_transpose(m, panels, x, s);
        combine_square(m, b, c, s, t);
        combine_product(m, panels, a, t, x, y);
        float *next = y;
        y = x;
        x = next;
    }
    for (long p = 0; p < panels; p++)
        for (long i = 0; i < m; i++) store(matrix + i * n + p * LANES, load(x + (p * m + i) * LANES));
}

/* Each matrix (rows, columns) is changed in its place. Rows and columns are multiples of 16; each working memory holds
 * 2 · rows · (rows + columns) floats. */
void foveal_orthogonalise(long count, const long *rows, const long *columns, float *const *matrices, int iterations,
                          float *const *memory, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (long i = count - 1; i >= 0; i--) orthogonalise(rows[i], columns[i], matrices[i], iterations, memory[i]);
}
