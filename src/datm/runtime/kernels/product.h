// Products of small matrices, by pieces that stay in registers.

#pragma once

#include "vectors.h"

namespace {

// A product of matrices goes by pieces of ROWS x PANEL numbers, which stay in registers.
constexpr int ROWS = LANES == 16 ? 12 : 6, PANEL = 2 * LANES;

// A matrix of a product: its numbers stand at equal distances.
struct Strided {
    const float* first;
    int64_t row, step;
    Strided below(int64_t r) const { return {first + r * row, row, step}; }
    float at(int64_t r, int64_t k) const { return first[r * row + k * step]; }
};

// c [R x PANEL] = a [R x depth] b [depth x PANEL], or added to c; rows of b and c are b_step and
// c_row apart.
template <int R>
void piece(int64_t depth, const Strided& a, const float* b, int64_t b_step, float* c, int64_t c_row,
           bool add) {
    Vector sum[R][2];
    for (int r = 0; r < R; ++r) {
        for (int half = 0; half < 2; ++half) {
            const Vector* old = reinterpret_cast<const Vector*>(c + r * c_row + half * LANES);
            sum[r][half] = add ? *old : Vector{};
        }
    }
    for (int64_t k = 0; k < depth; ++k) {
        const Vector left = *reinterpret_cast<const Vector*>(b + k * b_step);
        const Vector right = *reinterpret_cast<const Vector*>(b + k * b_step + LANES);
        for (int r = 0; r < R; ++r) {
            const float factor = a.at(r, k);
            sum[r][0] += factor * left;
            sum[r][1] += factor * right;
        }
    }
    for (int r = 0; r < R; ++r) {
        for (int half = 0; half < 2; ++half) {
            *reinterpret_cast<Vector*>(c + r * c_row + half * LANES) = sum[r][half];
        }
    }
}

template <int R>
void last_rows(int64_t rows, int64_t depth, const Strided& a, const float* b, int64_t b_step,
               float* c, int64_t c_row, bool add) {
    if constexpr (R > 0) {
        if (rows == R) {
            piece<R>(depth, a, b, b_step, c, c_row, add);
        } else {
            last_rows<R - 1>(rows, depth, a, b, b_step, c, c_row, add);
        }
    }
}

// The same for any number of rows.
void product(int64_t rows, int64_t depth, const Strided& a, const float* b, int64_t b_step,
             float* c, int64_t c_row, bool add) {
    int64_t r = 0;
    for (; r + ROWS <= rows; r += ROWS) {
        piece<ROWS>(depth, a.below(r), b, b_step, c + r * c_row, c_row, add);
    }
    last_rows<ROWS - 1>(rows - r, depth, a.below(r), b, b_step, c + r * c_row, c_row, add);
}

}  // namespace
