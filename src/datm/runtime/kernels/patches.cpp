// 3x3 convolutions of stride 1 with few input channels, a network's first layer, as products of
// matrices: the 9 C numbers under the kernel, a patch, make a row for each output.
//
// Patches are made for a few rows of outputs at a time, and used while they are in the cache.
//
// Tensors are float32; activations have the channels of a pixel side by side ("channels last").
// Letters: B images, H x W pixels, C channels in, K channels out; H' = H + 2 padding - 2.

#include <algorithm>
#include <cstring>

#include "memory.h"
#include "product.h"

namespace {

constexpr int64_t LINES = 4;  // rows of outputs whose patches are made at once

// Sizes of one call.
struct Sizes {
    int64_t images, height, width, in, out, padding;
    int64_t rows() const { return height + 2 * padding - 2; }
    int64_t columns() const { return width + 2 * padding - 2; }
    int64_t patch() const { return 9 * in; }
    int64_t line() const { return (width + 2 * padding) * in; }
    int64_t bordered() const { return (height + 2 * padding) * line(); }
    int64_t made() const { return LINES * columns(); }
};

// An image with its border of zeros, [H + 2 padding, W + 2 padding, C].
void border(const float* image, const Sizes& sizes, float* to) {
    std::memset(to, 0, sizes.bordered() * sizeof(float));
    for (int64_t y = 0; y < sizes.height; ++y) {
        std::memcpy(to + (y + sizes.padding) * sizes.line() + sizes.padding * sizes.in,
                    image + y * sizes.width * sizes.in, sizes.width * sizes.in * sizeof(float));
    }
}

// Calls use(bordered, patch) with the places of every 3 C numbers that lie together in both: a row
// of the kernel.
template <class Use>
void each_strip(const Sizes& sizes, int64_t first, int64_t count, int64_t patch_row, Use use) {
    for (int64_t y = 0; y < count; ++y) {
        for (int64_t x = 0; x < sizes.columns(); ++x) {
            for (int64_t down = 0; down < 3; ++down) {
                use((first + y + down) * sizes.line() + x * sizes.in,
                    (y * sizes.columns() + x) * patch_row + down * 3 * sizes.in);
            }
        }
    }
}

// Patches [count rows x W', 9 C] of the outputs from row `first` on.
void patches_of(const float* bordered, const Sizes& sizes, int64_t first, int64_t count,
                float* to) {
    each_strip(sizes, first, count, sizes.patch(), [&](int64_t from, int64_t place) {
        std::copy_n(bordered + from, 3 * sizes.in, to + place);
    });
}

// Weights [K, C, 3, 3] as b[panel of K][9 C][PANEL], zeros beyond K.
void weights_by_output(const float* w, const Sizes& sizes, float* to) {
    for (int64_t k = 0; k < up(sizes.out, PANEL); ++k) {
        float* own = to + k / PANEL * sizes.patch() * PANEL + k % PANEL;
        for (int64_t c = 0; c < sizes.in; ++c) {
            for (int64_t place = 0; place < 9; ++place) {
                own[(place * sizes.in + c) * PANEL] =
                    k < sizes.out ? w[(k * sizes.in + c) * 9 + place] : 0.f;
            }
        }
    }
}

// The same as b[panel of 9 C][K][PANEL], zeros beyond 9 C.
void weights_by_patch(const float* w, const Sizes& sizes, float* to) {
    std::memset(to, 0, up(sizes.patch(), PANEL) * sizes.out * sizeof(float));
    for (int64_t k = 0; k < sizes.out; ++k) {
        for (int64_t c = 0; c < sizes.in; ++c) {
            for (int64_t place = 0; place < 9; ++place) {
                const int64_t entry = place * sizes.in + c;
                to[(entry / PANEL * sizes.out + k) * PANEL + entry % PANEL] =
                    w[(k * sizes.in + c) * 9 + place];
            }
        }
    }
}

float* allocated(int64_t floats) {
    return static_cast<float*>(std::aligned_alloc(64, up(floats * sizeof(float), 64)));
}

}  // namespace

extern "C" {

// out [B, H', W', K] = x [B, H, W, C] convolved with w [K, C, 3, 3].
// Returns 0, or 1 where memory ran out.
int datm_patches_convolve(const float* x, const float* w, float* out, int64_t images,
                          int64_t height, int64_t width, int64_t in, int64_t out_channels,
                          int64_t padding, int64_t threads) {
    const Sizes sizes{images, height, width, in, out_channels, padding};
    float* packed = allocated(up(out_channels, PANEL) * sizes.patch());
    bool failed = !packed;
    if (!failed) {
        weights_by_output(w, sizes, packed);
#pragma omp parallel for num_threads(int(threads)) schedule(static) reduction(|| : failed)
        for (int64_t image = 0; image < images; ++image) {
            float* bordered =
                scratch.of(sizes.bordered() + sizes.made() * (sizes.patch() + PANEL));
            if (!bordered) {
                failed = true;
                continue;
            }
            float* patches = bordered + sizes.bordered();
            float* last = patches + sizes.made() * sizes.patch();
            border(x + image * height * width * in, sizes, bordered);
            for (int64_t first = 0; first < sizes.rows(); first += LINES) {
                const int64_t count = std::min(LINES, sizes.rows() - first);
                const int64_t pixels = count * sizes.columns();
                patches_of(bordered, sizes, first, count, patches);
                float* own = out + (image * sizes.rows() + first) * sizes.columns() * out_channels;
                for (int64_t k = 0; k < out_channels; k += PANEL) {
                    const int64_t some = std::min<int64_t>(PANEL, out_channels - k);
                    float* to = some == PANEL ? own + k : last;
                    product(pixels, sizes.patch(), patches, sizes.patch(), 1,
                            packed + k * sizes.patch(), PANEL, to,
                            some == PANEL ? out_channels : PANEL, false);
                    for (int64_t pixel = 0; some < PANEL && pixel < pixels; ++pixel) {
                        std::copy_n(last + pixel * PANEL, some, own + pixel * out_channels + k);
                    }
                }
            }
        }
    }
    std::free(packed);
    return failed;
}

// dx [B, H, W, C], the derivative by the input of <dy [B, H', W', K], convolution with w>.
int datm_patches_input_gradient(const float* dy, const float* w, float* dx, int64_t images,
                                int64_t height, int64_t width, int64_t in, int64_t out_channels,
                                int64_t padding, int64_t threads) {
    const Sizes sizes{images, height, width, in, out_channels, padding};
    const int64_t wide = up(sizes.patch(), PANEL);
    float* packed = allocated(wide * out_channels);
    bool failed = !packed;
    if (!failed) {
        weights_by_patch(w, sizes, packed);
#pragma omp parallel for num_threads(int(threads)) schedule(static) reduction(|| : failed)
        for (int64_t image = 0; image < images; ++image) {
            float* bordered = scratch.of(sizes.bordered() + sizes.made() * wide);
            if (!bordered) {
                failed = true;
                continue;
            }
            float* patches = bordered + sizes.bordered();
            std::memset(bordered, 0, sizes.bordered() * sizeof(float));
            for (int64_t first = 0; first < sizes.rows(); first += LINES) {
                const int64_t count = std::min(LINES, sizes.rows() - first);
                const float* own =
                    dy + (image * sizes.rows() + first) * sizes.columns() * out_channels;
                for (int64_t entry = 0; entry < wide; entry += PANEL) {
                    product(count * sizes.columns(), out_channels, own, out_channels, 1,
                            packed + entry * out_channels, PANEL, patches + entry, wide, false);
                }
                each_strip(sizes, first, count, wide, [&](int64_t to, int64_t from) {
                    for (int64_t c = 0; c < 3 * in; ++c) bordered[to + c] += patches[from + c];
                });
            }
            for (int64_t y = 0; y < height; ++y) {
                std::copy_n(bordered + (y + padding) * sizes.line() + padding * in, width * in,
                            dx + (image * height + y) * width * in);
            }
        }
    }
    std::free(packed);
    return failed;
}

// dw [K, C, 3, 3], the derivative by the weights of <dy [B, H', W', K], convolution of x>.
int datm_patches_weight_gradient(const float* x, const float* dy, float* dw, int64_t images,
                                 int64_t height, int64_t width, int64_t in, int64_t out_channels,
                                 int64_t padding, int64_t threads) {
    const Sizes sizes{images, height, width, in, out_channels, padding};
    const int64_t wide = up(out_channels, PANEL), plane = sizes.patch() * wide;
    threads = std::max<int64_t>(1, std::min<int64_t>(threads, images));
    // Each thread sums over images of its own.
    float* sums = allocated(threads * plane);
    bool failed = !sums;
    if (!failed) {
#pragma omp parallel for num_threads(int(threads)) schedule(static) reduction(|| : failed)
        for (int64_t share = 0; share < threads; ++share) {
            float* sum = sums + share * plane;
            std::memset(sum, 0, plane * sizeof(float));
            float* bordered =
                scratch.of(sizes.bordered() + sizes.made() * (sizes.patch() + PANEL));
            if (!bordered) {
                failed = true;
                continue;
            }
            float* patches = bordered + sizes.bordered();
            float* last = patches + sizes.made() * sizes.patch();
            std::memset(last, 0, sizes.made() * PANEL * sizeof(float));
            const int64_t end = images * (share + 1) / threads;
            for (int64_t image = images * share / threads; image < end; ++image) {
                border(x + image * height * width * in, sizes, bordered);
                for (int64_t first = 0; first < sizes.rows(); first += LINES) {
                    const int64_t count = std::min(LINES, sizes.rows() - first);
                    const int64_t pixels = count * sizes.columns();
                    patches_of(bordered, sizes, first, count, patches);
                    const float* own =
                        dy + (image * sizes.rows() + first) * sizes.columns() * out_channels;
                    for (int64_t k = 0; k < out_channels; k += PANEL) {
                        const int64_t some = std::min<int64_t>(PANEL, out_channels - k);
                        for (int64_t pixel = 0; some < PANEL && pixel < pixels; ++pixel) {
                            std::copy_n(own + pixel * out_channels + k, some, last + pixel * PANEL);
                        }
                        product(sizes.patch(), pixels, patches, 1, sizes.patch(),
                                some == PANEL ? own + k : last,
                                some == PANEL ? out_channels : PANEL, sum + k, wide, true);
                    }
                }
            }
        }
        for (int64_t k = 0; !failed && k < out_channels; ++k) {
            for (int64_t c = 0; c < in; ++c) {
                for (int64_t place = 0; place < 9; ++place) {
                    float total = 0;
                    for (int64_t share = 0; share < threads; ++share) {
                        total += sums[share * plane + (place * in + c) * wide + k];
                    }
                    dw[(k * in + c) * 9 + place] = total;
                }
            }
        }
    }
    std::free(sums);
    return failed;
}

}  // extern "C"
