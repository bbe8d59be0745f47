// 3x3 convolutions of stride 1 by Winograd's minimal filtering: see winograd.h.
//
// A frequency is a matrix product over channels (or tiles). Tiles go through in blocks small enough
// that what is transformed never leaves the caches.
//
// Tensors are float32; activations have the channels of a pixel side by side ("channels last").
// Letters: B images, H x W pixels, C channels in, K channels out, T tiles of a block, F
// frequencies.

#include "winograd.h"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "memory.h"
#include "product.h"

namespace {

constexpr int BLOCK = 24;  // tiles; a multiple of ROWS
// Numbers from one frequency of a block to the next, `wide` for each tile: a cache line more than
// they take, or all frequencies of a channel would fall into one set of the cache.
constexpr int64_t plane_of(int64_t wide) { return BLOCK * wide + 16; }

// Activations [B, H, W, C] and the tiles that their convolution's outputs are cut into.
struct Map {
    int64_t height, width, channels;
    const float* data;
};
struct Tiles {
    int64_t images, down, across;
    int64_t count() const { return images * down * across; }
};
Tiles tiles_of(int64_t images, int64_t height, int64_t width) {
    return {images, (height + TILE - 1) / TILE, (width + TILE - 1) / TILE};
}

// Pixels [SIDE x SIDE] of a tile, from (4 row - padding, 4 column - padding) on; zeros outside.
template <int SIDE>
void pixels(const Map& map, const Tiles& tiles, int64_t tile, int64_t padding, const float* zeros,
            const float** at) {
    const int64_t image = tile / (tiles.down * tiles.across);
    const int64_t rest = tile % (tiles.down * tiles.across);
    const int64_t top = rest / tiles.across * TILE - padding;
    const int64_t left = rest % tiles.across * TILE - padding;
    for (int row = 0; row < SIDE; ++row) {
        for (int column = 0; column < SIDE; ++column) {
            const int64_t y = top + row, x = left + column;
            const bool inside = y >= 0 && y < map.height && x >= 0 && x < map.width;
            at[row * SIDE + column] =
                inside ? map.data + ((image * map.height + y) * map.width + x) * map.channels
                       : zeros;
        }
    }
}

// Frequencies of a block's tiles: to[f][t][c], `wide` numbers for the channels of a tile.
template <class Axis>
void transform(const Map& map, const Tiles& tiles, int64_t first, int64_t count, int64_t padding,
               const float* zeros, float* to, int64_t wide) {
    const int64_t plane = plane_of(wide);
    for (int64_t t = 0; t < count; ++t) {
        const float* at[Axis::in * Axis::in];
        pixels<Axis::in>(map, tiles, first + t, padding, zeros, at);
        float* own = to + t * wide;
        int64_t c = 0;
        for (; c + LANES <= map.channels; c += LANES) {
            both<Axis, Vector>(
                [&](int i) { return *reinterpret_cast<const Vector*>(at[i] + c); },
                [&](int f, Vector v) { *reinterpret_cast<Vector*>(own + f * plane + c) = v; });
        }
        for (; c < map.channels; ++c) {
            both<Axis, float>([&](int i) { return at[i][c]; },
                              [&](int f, float v) { own[f * plane + c] = v; });
        }
    }
}

// Outputs of a block's tiles, `some` channels from `channel` on, from frequencies m[f][t][PANEL].
void gather(const float* m, const Tiles& tiles, int64_t first, int64_t count, float* out,
            int64_t height, int64_t width, int64_t channels, int64_t channel) {
    const int64_t plane = plane_of(PANEL), some = std::min<int64_t>(PANEL, channels - channel);
    for (int64_t t = 0; t < count; ++t) {
        const int64_t tile = first + t, image = tile / (tiles.down * tiles.across);
        const int64_t rest = tile % (tiles.down * tiles.across);
        const int64_t top = rest / tiles.across * TILE, left = rest % tiles.across * TILE;
        const float* own = m + t * PANEL;
        float* corner = out + ((image * height + top) * width + left) * channels + channel;
        const int64_t rows = std::min<int64_t>(TILE, height - top);
        const int64_t columns = std::min<int64_t>(TILE, width - left);
        int64_t c = 0;
        const auto place = [&](int i) { return ((i / TILE) * width + i % TILE) * channels + c; };
        const auto inside = [&](int i) { return i / TILE < rows && i % TILE < columns; };
        for (; c + LANES <= some; c += LANES) {
            both<Gather, Vector>(
                [&](int f) { return *reinterpret_cast<const Vector*>(own + f * plane + c); },
                [&](int i, Vector v) {
                    if (inside(i)) *reinterpret_cast<Vector*>(corner + place(i)) = v;
                });
        }
        for (; c < some; ++c) {
            both<Gather, float>([&](int f) { return own[f * plane + c]; },
                                [&](int i, float v) {
                                    if (inside(i)) corner[place(i)] = v;
                                });
        }
    }
}

// Frequencies of weights [K, C, 3, 3] for the products: to[panel of K][f][C][PANEL], zeros beyond
// K.
// `turned` takes [C, K, 3, 3] rotated by half a turn: what pulls derivatives back to the input.
void weights(const float* w, int64_t in, int64_t out, bool turned, float* to, int64_t threads) {
    const int64_t panels = up(out, PANEL) / PANEL;
#pragma omp parallel for num_threads(int(threads)) schedule(static)
    for (int64_t job = 0; job < panels * in; ++job) {
        const int64_t panel = job / in, c = job % in;
        float* own = to + (panel * F * in + c) * PANEL;
        float kernels[9][PANEL] = {};
        for (int64_t lane = 0; lane < std::min<int64_t>(PANEL, out - panel * PANEL); ++lane) {
            const int64_t k = panel * PANEL + lane;
            const float* from = w + (turned ? c * out + k : k * in + c) * 9;
            for (int i = 0; i < 9; ++i) kernels[i][lane] = from[turned ? 8 - i : i];
        }
        for (int lane = 0; lane < PANEL; lane += LANES) {
            both<Kernel, Vector>(
                [&](int i) { return *reinterpret_cast<const Vector*>(kernels[i] + lane); },
                [&](int f, Vector v) {
                    *reinterpret_cast<Vector*>(own + f * in * PANEL + lane) = v;
                });
        }
    }
}

// out [B, H', W', K] = x [B, H, W, C] convolved with w [K, C, 3, 3], or [C, K, 3, 3] if `turned`.
// Returns whether memory ran out.
bool convolve(const float* x, const float* w, float* out, int64_t images, int64_t height,
              int64_t width, int64_t in, int64_t out_channels, int64_t padding, bool turned,
              int64_t threads) {
    const int64_t rows = height + 2 * padding - 2, columns = width + 2 * padding - 2;
    const int64_t panels = up(out_channels, PANEL) / PANEL;
    float* u = static_cast<float*>(std::aligned_alloc(64, panels * F * in * PANEL * sizeof(float)));
    float* zeros = static_cast<float*>(std::calloc(in, sizeof(float)));
    bool failed = !u || !zeros;
    if (!failed) {
        weights(w, in, out_channels, turned, u, threads);
        const Map map{height, width, in, x};
        const Tiles tiles = tiles_of(images, rows, columns);
        const int64_t blocks = (tiles.count() + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(int(threads)) schedule(dynamic) reduction(|| : failed)
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t first = block * BLOCK;
            const int64_t count = std::min<int64_t>(BLOCK, tiles.count() - first);
            float* v = scratch.of(F * (plane_of(in) + plane_of(PANEL)));
            if (!v) {
                failed = true;
                continue;
            }
            float* m = v + F * plane_of(in);
            transform<Patch>(map, tiles, first, count, padding, zeros, v, in);
            for (int64_t panel = 0; panel < panels; ++panel) {
                for (int64_t f = 0; f < F; ++f) {
                    product(count, in, Strided{v + f * plane_of(in), in, 1},
                            u + (panel * F + f) * in * PANEL, PANEL, m + f * plane_of(PANEL), PANEL,
                            false);
                }
                gather(m, tiles, first, count, out, rows, columns, out_channels, panel * PANEL);
            }
        }
    }
    std::free(u);
    std::free(zeros);
    return failed;
}

}  // namespace

// Each returns 0, or 1 where memory ran out. H' = H + 2 padding - 2.
extern "C" {

// out [B, H', W', K] = x [B, H, W, C] convolved with w [K, C, 3, 3].
int datm_winograd_convolve(const float* x, const float* w, float* out, int64_t images,
                           int64_t height, int64_t width, int64_t in, int64_t out_channels,
                           int64_t padding, int64_t threads) {
    return convolve(x, w, out, images, height, width, in, out_channels, padding, false, threads);
}

// dx [B, H, W, C], the derivative by the input of <dy [B, H', W', K], convolution with w>: dy
// convolved with w turned by 180 degrees.
int datm_winograd_input_gradient(const float* dy, const float* w, float* dx, int64_t images,
                                 int64_t height, int64_t width, int64_t in, int64_t out_channels,
                                 int64_t padding, int64_t threads) {
    return convolve(dy, w, dx, images, height + 2 * padding - 2, width + 2 * padding - 2,
                    out_channels, in, 2 - padding, true, threads);
}

// dw [K, C, 3, 3], the derivative by the weights of <dy, convolution of x>: x [B, H, W, C],
// dy [B, H', W', K].
int datm_winograd_weight_gradient(const float* x, const float* dy, float* dw, int64_t images,
                                  int64_t height, int64_t width, int64_t in, int64_t out_channels,
                                  int64_t padding, int64_t threads) {
    const int64_t rows = height + 2 * padding - 2, columns = width + 2 * padding - 2;
    const int64_t wide = up(out_channels, PANEL), plane = in * wide;
    const Tiles tiles = tiles_of(images, rows, columns);
    const int64_t blocks = (tiles.count() + BLOCK - 1) / BLOCK;
    threads = std::max<int64_t>(1, std::min<int64_t>(threads, blocks));
    // Each thread sums over tiles of its own.
    float* sums = static_cast<float*>(std::aligned_alloc(64, threads * F * plane * sizeof(float)));
    float* zeros = static_cast<float*>(std::calloc(std::max(in, out_channels), sizeof(float)));
    bool failed = !sums || !zeros;
    if (!failed) {
        const Map map{height, width, in, x}, derivatives{rows, columns, out_channels, dy};
#pragma omp parallel num_threads(int(threads)) reduction(|| : failed)
        {
            const int team = omp_get_num_threads(), own = omp_get_thread_num();
            for (int share = own; share < threads; share += team) {
                float* sum = sums + share * F * plane;
                std::memset(sum, 0, F * plane * sizeof(float));
                float* v = scratch.of(F * (plane_of(in) + plane_of(wide)));
                if (!v) {
                    failed = true;
                    continue;
                }
                float* m = v + F * plane_of(in);
                if (wide > out_channels) std::memset(m, 0, F * plane_of(wide) * sizeof(float));
                const int64_t end = blocks * (share + 1) / threads;
                for (int64_t block = blocks * share / threads; block < end; ++block) {
                    const int64_t first = block * BLOCK;
                    const int64_t count = std::min<int64_t>(BLOCK, tiles.count() - first);
                    transform<Patch>(map, tiles, first, count, padding, zeros, v, in);
                    transform<Spread>(derivatives, tiles, first, count, 0, zeros, m, wide);
                    for (int64_t f = 0; f < F; ++f) {
                        for (int64_t k = 0; k < wide; k += PANEL) {
                            product(in, count, Strided{v + f * plane_of(in), 1, in},
                                    m + f * plane_of(wide) + k, wide, sum + f * plane + k, wide,
                                    true);
                        }
                    }
                }
            }
        }
        if (!failed) {
#pragma omp parallel for num_threads(int(threads)) schedule(static)
            for (int64_t c = 0; c < in; ++c) {
                for (int64_t k = 0; k < out_channels; k += LANES) {
                    Vector kernels[9];
                    both<Fold, Vector>(
                        [&](int f) {
                            Vector total{};
                            for (int64_t share = 0; share < threads; ++share) {
                                total += *reinterpret_cast<const Vector*>(
                                    sums + (share * F + f) * plane + c * wide + k);
                            }
                            return total;
                        },
                        [&](int i, Vector v) { kernels[i] = v; });
                    const int64_t some = std::min<int64_t>(LANES, out_channels - k);
                    for (int64_t lane = 0; lane < some; ++lane) {
                        float* own = dw + ((k + lane) * in + c) * 9;
                        for (int i = 0; i < 9; ++i) own[i] = kernels[i][lane];
                    }
                }
            }
        }
    }
    std::free(sums);
    std::free(zeros);
    return failed;
}

}  // extern "C"
