// Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray 2016), for 3x3 convolutions of stride 1.
//
// Four by four outputs that lie together, a tile, need 36 products per pair of channels where the
// plain sum needs 144:
//     y  = A' [(G w G') . (B' x B)] A       (. is a product entry by entry, summed over input
//     dw = G' [(B' x B) . (A dy A')] G      channels for y, over tiles for dw, over output
//     dx = B [(G w G') . (A dy A')] B'      channels for dx; tiles' dx overlap and add up)
// Each of the 36 entries is a frequency.

#pragma once

namespace {

constexpr int F = 36, TILE = 4, PATCH = 6;

// The transforms along one axis, of numbers or vectors.
struct Patch {  // B': six inputs to six frequencies
    static constexpr int in = PATCH, out = PATCH;
    template <class V>
    static void apply(const V* x, V* y) {
        const V a = x[4] - 4.f * x[2], b = x[3] - 4.f * x[1];
        const V c = x[4] - x[2], d = 2.f * (x[3] - x[1]);
        y[0] = 4.f * x[0] - 5.f * x[2] + x[4];
        y[1] = a + b;
        y[2] = a - b;
        y[3] = c + d;
        y[4] = c - d;
        y[5] = 4.f * x[1] - 5.f * x[3] + x[5];
    }
};
struct PulledBack {  // B: derivatives by six frequencies to those by six inputs
    static constexpr int in = PATCH, out = PATCH;
    template <class V>
    static void apply(const V* x, V* y) {
        const V a = x[1] + x[2], b = x[1] - x[2];
        const V c = x[3] + x[4], d = x[3] - x[4];
        y[0] = 4.f * x[0];
        y[1] = 4.f * (x[5] - b) - 2.f * d;
        y[2] = -5.f * x[0] - 4.f * a - c;
        y[3] = b + 2.f * d - 5.f * x[5];
        y[4] = x[0] + a + c;
        y[5] = x[5];
    }
};
struct Spread {  // A: four outputs' derivatives to six frequencies
    static constexpr int in = TILE, out = PATCH;
    template <class V>
    static void apply(const V* x, V* y) {
        const V a = x[0] + x[2], b = x[1] + x[3];
        const V c = x[0] + 4.f * x[2], d = 2.f * x[1] + 8.f * x[3];
        y[0] = x[0];
        y[1] = a + b;
        y[2] = a - b;
        y[3] = c + d;
        y[4] = c - d;
        y[5] = x[3];
    }
};
struct Gather {  // A': six frequencies to four outputs
    static constexpr int in = PATCH, out = TILE;
    template <class V>
    static void apply(const V* x, V* y) {
        const V a = x[1] + x[2], b = x[1] - x[2];
        const V c = x[3] + x[4], d = x[3] - x[4];
        y[0] = x[0] + a + c;
        y[1] = b + 2.f * d;
        y[2] = a + 4.f * c;
        y[3] = b + 8.f * d + x[5];
    }
};
struct Kernel {  // G: three weights to six frequencies
    static constexpr int in = 3, out = PATCH;
    template <class V>
    static void apply(const V* x, V* y) {
        const V a = x[0] + x[2], c = x[0] + 4.f * x[2];
        y[0] = x[0] * (1.f / 4);
        y[1] = (a + x[1]) * (-1.f / 6);
        y[2] = (a - x[1]) * (-1.f / 6);
        y[3] = (c + 2.f * x[1]) * (1.f / 24);
        y[4] = (c - 2.f * x[1]) * (1.f / 24);
        y[5] = x[2];
    }
};
struct Fold {  // G': six frequencies to the derivatives of three weights
    static constexpr int in = PATCH, out = 3;
    template <class V>
    static void apply(const V* x, V* y) {
        const V a = x[1] + x[2], b = x[1] - x[2];
        const V c = x[3] + x[4], d = x[3] - x[4];
        y[0] = x[0] * (1.f / 4) - a * (1.f / 6) + c * (1.f / 24);
        y[1] = d * (1.f / 12) - b * (1.f / 6);
        y[2] = c * (1.f / 6) - a * (1.f / 6) + x[5];
    }
};

// Both axes: `from` holds in x in numbers, `to` out x out.
template <class Axis, class V, class Load, class Store>
inline void both(Load load, Store store) {
    V half[Axis::out][Axis::in];
    for (int column = 0; column < Axis::in; ++column) {
        V x[Axis::in], y[Axis::out];
        for (int row = 0; row < Axis::in; ++row) x[row] = load(row * Axis::in + column);
        Axis::apply(x, y);
        for (int row = 0; row < Axis::out; ++row) half[row][column] = y[row];
    }
    for (int row = 0; row < Axis::out; ++row) {
        V y[Axis::out];
        Axis::apply(half[row], y);
        for (int column = 0; column < Axis::out; ++column) {
            store(row * Axis::out + column, y[column]);
        }
    }
}

}  // namespace
