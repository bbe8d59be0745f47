// 3x3 convolutions of stride 1 with few input channels, a network's first layer, of one image at a
// time: products of matrices, one of which has a row for each output, the 9 C numbers under the
// kernel, a patch. These are read where they lie, in an image with its border of zeros, which stays
// in the cache.
//
// Letters: H x W pixels, C channels in, K channels out; H' = H + 2 padding - 2.

#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "memory.h"
#include "product.h"

namespace {

constexpr int64_t LINES = 4;  // rows of outputs that are made at once

// Sizes of one call.
struct Shape {
    int64_t images, height, width, in, out, padding;
    int64_t rows() const { return height + 2 * padding - 2; }
    int64_t columns() const { return width + 2 * padding - 2; }
    int64_t pixels() const { return rows() * columns(); }
    int64_t patch() const { return 9 * in; }
    int64_t image() const { return height * width * in; }
    int64_t line() const { return (width + 2 * padding) * in; }
    int64_t bordered() const { return up((height + 2 * padding) * line(), 16); }
    int64_t lines() const { return LINES * columns(); }
    int64_t patches() const { return lines() * up(patch(), PANEL); }
    int64_t wide() const { return up(out, PANEL); }
};

// Where each output's patch begins in a bordered image, and where its numbers stand from there.
struct Tables {
    explicit Tables(const Shape& shape)
        : outputs(new (std::nothrow) int32_t[shape.pixels()]),
          patch(new (std::nothrow) int32_t[shape.patch()]) {
        for (int64_t i = 0; outputs && i < shape.pixels(); ++i) {
            outputs[i] = i / shape.columns() * shape.line() + i % shape.columns() * shape.in;
        }
        for (int64_t i = 0; patch && i < shape.patch(); ++i) {
            patch[i] = i / (3 * shape.in) * shape.line() + i % (3 * shape.in);
        }
    }
    bool failed() const { return !outputs || !patch; }

    std::unique_ptr<int32_t[]> outputs, patch;
};

// An image with its border of zeros, [H + 2 padding, W + 2 padding, C]; null: nothing but zeros.
void border(const float* image, const Shape& shape, float* to) {
    std::memset(to, 0, shape.bordered() * sizeof(float));
    for (int64_t y = 0; image && y < shape.height; ++y) {
        std::memcpy(to + (y + shape.padding) * shape.line() + shape.padding * shape.in,
                    image + y * shape.width * shape.in, shape.width * shape.in * sizeof(float));
    }
}

// What lies within the border.
void unborder(const float* bordered, const Shape& shape, float* image) {
    for (int64_t y = 0; y < shape.height; ++y) {
        std::copy_n(bordered + (y + shape.padding) * shape.line() + shape.padding * shape.in,
                    shape.width * shape.in, image + y * shape.width * shape.in);
    }
}

using Memory = std::unique_ptr<float[], decltype(&std::free)>;

Memory memory(int64_t floats) {
    const size_t size = up(std::max<int64_t>(floats, 1) * sizeof(float), 64);
    return {static_cast<float*>(std::aligned_alloc(64, size)), &std::free};
}

// Weights [K, C, 3, 3] as b[panel of K][9 C][PANEL], zeros beyond K; null where memory ran out, as
// the next.
Memory weights_by_output(const float* w, const Shape& shape) {
    Memory to = memory(shape.wide() * shape.patch());
    for (int64_t k = 0; to && k < shape.wide(); ++k) {
        float* own = to.get() + k / PANEL * shape.patch() * PANEL + k % PANEL;
        for (int64_t c = 0; c < shape.in; ++c) {
            for (int64_t place = 0; place < 9; ++place) {
                own[(place * shape.in + c) * PANEL] =
                    k < shape.out ? w[(k * shape.in + c) * 9 + place] : 0.f;
            }
        }
    }
    return to;
}

// The same as b[panel of 9 C][K][PANEL], zeros beyond 9 C.
Memory weights_by_patch(const float* w, const Shape& shape) {
    const int64_t size = up(shape.patch(), PANEL) * shape.out;
    Memory to = memory(size);
    if (to) std::memset(to.get(), 0, size * sizeof(float));
    for (int64_t k = 0; to && k < shape.out; ++k) {
        for (int64_t c = 0; c < shape.in; ++c) {
            for (int64_t place = 0; place < 9; ++place) {
                const int64_t entry = place * shape.in + c;
                to[(entry / PANEL * shape.out + k) * PANEL + entry % PANEL] =
                    w[(k * shape.in + c) * 9 + place];
            }
        }
    }
    return to;
}

// Images are shared out among threads, each consecutive ones.
int64_t shares(const Shape& shape, int64_t threads) {
    return std::max<int64_t>(1, std::min(threads, shape.images));
}

// Calls each(share, image, its pixels with a border, memory for `floats`) for all images
// [B, H, W, C]; zeros with a border where these are null. Gives 1 where memory ran out, else 0.
template <class Each>
int every_image(const float* images, const Shape& shape, int64_t threads, int64_t floats,
                Each each) {
    const int64_t count = shares(shape, threads);
    bool failed = false;
#pragma omp parallel for num_threads(int(count)) schedule(static) reduction(|| : failed)
    for (int64_t share = 0; share < count; ++share) {
        float* bordered = scratch.of(shape.bordered() + floats);
        if (!bordered) {
            failed = true;
            continue;
        }
        const int64_t end = shape.images * (share + 1) / count;
        for (int64_t image = shape.images * share / count; image < end; ++image) {
            border(images ? images + image * shape.image() : nullptr, shape, bordered);
            each(share, image, bordered, bordered + shape.bordered());
        }
    }
    return failed;
}

// Calls each(first output, how many) for a few rows of an image's outputs at a time.
template <class Each>
void each_lines(const Shape& shape, Each each) {
    for (int64_t first = 0; first < shape.pixels(); first += shape.lines()) {
        each(first, std::min(shape.lines(), shape.pixels() - first));
    }
}

// `count` outputs from `first` on, PANEL of their channels: to, rows to_row apart.
void convolve(const float* bordered, const Tables& tables, const Shape& shape, int64_t first,
              int64_t count, const float* panel, float* to, int64_t to_row) {
    product(count, shape.patch(), Gathered{bordered, &tables.outputs[first], tables.patch.get()},
            panel, PANEL, to, to_row, false);
}

// Derivatives by the weights: each share of the images sums its own, [9 C, K].
class WeightSums {
   public:
    WeightSums(const Shape& shape, int64_t threads, bool wanted = true)
        : shape_(shape),
          count_(wanted ? shares(shape, threads) : 0),
          sums_(memory(count_ * size())) {
        if (sums_) std::memset(sums_.get(), 0, count_ * size() * sizeof(float));
    }
    bool failed() const { return !sums_; }
    // Adds what PANEL channels of an image's output derivatives, from channel k on, say.
    void add(int64_t share, const float* bordered, const Tables& tables, int64_t k,
             const float* by_output, int64_t output_row) {
        float* sum = sums_.get() + share * size() + k;
        each_lines(shape_, [&](int64_t first, int64_t count) {
            product(shape_.patch(), count,
                    Gathered{bordered, tables.patch.get(), &tables.outputs[first]},
                    by_output + first * output_row, output_row, sum, shape_.wide(), true);
        });
    }
    // dw [K, C, 3, 3]: their sum.
    void into(float* dw) const {
        for (int64_t k = 0; k < shape_.out; ++k) {
            for (int64_t c = 0; c < shape_.in; ++c) {
                for (int64_t place = 0; place < 9; ++place) {
                    const float* own = sums_.get() + (place * shape_.in + c) * shape_.wide() + k;
                    float total = 0;
                    for (int64_t share = 0; share < count_; ++share) total += own[share * size()];
                    dw[(k * shape_.in + c) * 9 + place] = total;
                }
            }
        }
    }

   private:
    int64_t size() const { return shape_.patch() * shape_.wide(); }

    const Shape& shape_;
    int64_t count_;
    Memory sums_;
};

// Adds to the derivatives by a bordered image what those of its outputs, `channels` of them, say.
// panels: weights_by_patch, from the first of these channels on; patches: memory for
// shape.patches().
void add_input_gradient(const float* by_output, int64_t output_row, int64_t channels,
                        const float* panels, const Tables& tables, const Shape& shape,
                        float* patches, float* bordered) {
    const int64_t wide = up(shape.patch(), PANEL);
    each_lines(shape, [&](int64_t first, int64_t count) {
        for (int64_t entry = 0; entry < wide; entry += PANEL) {
            product(count, channels, Strided{by_output + first * output_row, output_row, 1},
                    panels + entry * shape.out, PANEL, patches + entry, wide, false);
        }
        for (int64_t i = 0; i < count; ++i) {
            for (int64_t down = 0; down < 3; ++down) {
                float* to = bordered + tables.outputs[first + i] + down * shape.line();
                const float* from = patches + i * wide + down * 3 * shape.in;
                for (int64_t c = 0; c < 3 * shape.in; ++c) to[c] += from[c];
            }
        }
    });
}

}  // namespace
