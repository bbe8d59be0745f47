// 3x3 convolutions of stride 1 with few input channels, a network's first layer, by Winograd's
// minimal filtering (see winograd.h), of one image and STEP output channels at a time. With so few
// channels the products of a frequency are no matrices; what counts is that outputs' frequencies
// never leave the caches.
//
// Letters: H x W pixels, C channels in, K channels out, F frequencies; H' = H + 2 padding - 2.

#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>

#include "channels.h"
#include "memory.h"
#include "winograd.h"

namespace {

constexpr int FEW = 4;  // tiles whose outputs' derivatives are frequencies at once

// Sizes of one call.
struct Shape {
    int64_t images, height, width, in, out, padding;
    int64_t rows() const { return height + 2 * padding - 2; }
    int64_t columns() const { return width + 2 * padding - 2; }
    int64_t pixels() const { return rows() * columns(); }
    int64_t image() const { return height * width * in; }
    int64_t across() const { return (columns() + TILE - 1) / TILE; }
    int64_t down() const { return (rows() + TILE - 1) / TILE; }
    int64_t tiles() const { return down() * across(); }
    // A line of an image with a border of zeros that reaches as far as the tiles.
    int64_t line() const { return up((TILE * across() + PATCH - TILE) * in, LANES); }
    int64_t bordered() const { return (TILE * down() + PATCH - TILE) * line(); }
    // Of an image, or of STEP channels' weights.
    int64_t frequencies() const { return tiles() * F * in; }
    int64_t weights() const { return F * in * STEP; }
    int64_t steps() const { return (out + STEP - 1) / STEP; }
};

// A tile's outputs: which of them there are, and where.
struct Tile {
    int64_t corner, columns, rows_in, columns_in;

    Tile(const Shape& shape, int64_t tile)
        : corner(tile / shape.across() * TILE * shape.columns() + tile % shape.across() * TILE),
          columns(shape.columns()),
          rows_in(shape.rows() - tile / shape.across() * TILE),
          columns_in(shape.columns() - tile % shape.across() * TILE) {}
    int64_t pixel(int i) const { return corner + i / TILE * columns + i % TILE; }
    // Calls use(has), with has(i) whether there is output i: known to the compiler where all are.
    template <class Use>
    void with_outputs(Use use) const {
        if (rows_in >= TILE && columns_in >= TILE) {
            use([](int) { return true; });
        } else {
            use([&](int i) { return i / TILE < rows_in && i % TILE < columns_in; });
        }
    }
};

// Calls use(C), known to the compiler where that is usual.
template <class Use>
void with_channels(int64_t in, Use use) {
    if (in == 3) {
        use(std::integral_constant<int64_t, 3>{});
    } else if (in == 1) {
        use(std::integral_constant<int64_t, 1>{});
    } else {
        use(in);
    }
}

// An image with its border of zeros; null: nothing but zeros.
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

// Frequencies of a bordered image, to[tile][F][C]; half: memory for PATCH lines.
void transform(const float* bordered, const Shape& shape, float* half, float* to) {
    const int64_t line = shape.line(), in = shape.in;
    for (int64_t tile = 0; tile < shape.tiles(); ++tile, to += F * in) {
        const int64_t column = tile % shape.across();
        const float* top = bordered + tile / shape.across() * TILE * line;
        for (int64_t x = 0; column == 0 && x < line; x += LANES) {
            Vector pixels[PATCH], lines[PATCH];
            for (int i = 0; i < PATCH; ++i) pixels[i] = load(top + i * line + x);
            Patch::apply(pixels, lines);
            for (int i = 0; i < PATCH; ++i) store(half + i * line + x, lines[i]);
        }
        for (int row = 0; row < PATCH; ++row) {
            const float* from = half + row * line + column * TILE * in;
            for (int64_t c = 0; c < in; ++c) {
                float pixels[PATCH], frequencies[PATCH];
                for (int i = 0; i < PATCH; ++i) pixels[i] = from[i * in + c];
                Patch::apply(pixels, frequencies);
                for (int i = 0; i < PATCH; ++i) to[(row * PATCH + i) * in + c] = frequencies[i];
            }
        }
    }
}

// The reverse: adds to derivatives by a bordered image what those by its frequencies,
// by[tile][F][C], sums of LANES numbers each, say.
void add_pulled_back(const float* by, const Shape& shape, float* half, float* bordered) {
    const int64_t line = shape.line(), in = shape.in;
    for (int64_t tile = 0; tile < shape.tiles(); ++tile, by += F * in * LANES) {
        const int64_t column = tile % shape.across();
        float* top = bordered + tile / shape.across() * TILE * line;
        if (column == 0) std::memset(half, 0, PATCH * line * sizeof(float));
        for (int row = 0; row < PATCH; ++row) {
            float* to = half + row * line + column * TILE * in;
            for (int64_t c = 0; c < in; ++c) {
                float frequencies[PATCH], pixels[PATCH];
                for (int i = 0; i < PATCH; ++i) {
                    frequencies[i] = sum_of(load(by + ((row * PATCH + i) * in + c) * LANES));
                }
                PulledBack::apply(frequencies, pixels);
                for (int i = 0; i < PATCH; ++i) to[i * in + c] += pixels[i];
            }
        }
        for (int64_t x = 0; column == shape.across() - 1 && x < line; x += LANES) {
            Vector lines[PATCH], pixels[PATCH];
            for (int i = 0; i < PATCH; ++i) lines[i] = load(half + i * line + x);
            PulledBack::apply(lines, pixels);
            for (int i = 0; i < PATCH; ++i) {
                store(top + i * line + x, load(top + i * line + x) + pixels[i]);
            }
        }
    }
}

using Memory = std::unique_ptr<float[], decltype(&std::free)>;

Memory memory(int64_t floats) {
    const size_t size = up(std::max<int64_t>(floats, 1) * sizeof(float), 64);
    return {static_cast<float*>(std::aligned_alloc(64, size)), &std::free};
}

// Frequencies of weights [K, C, 3, 3], [STEP channels of K][F][C][STEP], zeros beyond K; null where
// memory ran out.
Memory weights_of(const float* w, const Shape& shape) {
    Memory to = memory(shape.steps() * shape.weights());
    for (int64_t k = 0; to && k < shape.steps() * STEP; ++k) {
        float* own = to.get() + k / STEP * shape.weights() + k % STEP;
        for (int64_t c = 0; c < shape.in; ++c) {
            both<Kernel, float>(
                [&](int i) { return k < shape.out ? w[(k * shape.in + c) * 9 + i] : 0.f; },
                [&](int f, float v) { own[(f * shape.in + c) * STEP] = v; });
        }
    }
    return to;
}

// STEP channels of an image's outputs, to[pixel][STEP], from frequencies. Gives their sums.
template <class Count>
[[gnu::noinline]] FLATTEN Together outputs(const float* image, const float* weights,
                                           const Shape& shape, Count in, float* to) {
    Together sums{};
    for (int64_t t = 0; t < shape.tiles(); ++t, image += F * in) {
        const Tile tile(shape, t);
        float frequencies[F * STEP];
        for (int f = 0; f < F; ++f) {
            Together sum{};
            for (int64_t c = 0; c < in; ++c) {
                sum += image[f * in + c] * Together::of(weights + (f * in + c) * STEP);
            }
            sum.into(frequencies + f * STEP);
        }
        tile.with_outputs([&](auto has) {
            for (int w = 0; w < STEP / LANES; ++w) {
                Vector sum = sums.at[w];
                both<Gather, Vector>(
                    [&](int f) { return load(frequencies + f * STEP + w * LANES); },
                    [&](int i, Vector y) {
                        if (!has(i)) return;
                        store(to + tile.pixel(i) * STEP + w * LANES, y);
                        sum += y;
                    });
                sums.at[w] = sum;
            }
        });
    }
    return sums;
}

// Adds what derivatives by STEP channels of an image's outputs, own[pixel][STEP], say about its
// weights' frequencies, by_weights, and its own, by_image[tile][F][C], sums of LANES numbers each.
// What is null is not wanted.
template <class Count>
[[gnu::noinline]] FLATTEN void add_derivatives(const float* own, const float* image,
                                               const float* weights, const Shape& shape, Count in,
                                               float* by_weights, float* by_image) {
    for (int64_t first = 0; first < shape.tiles(); first += FEW) {
        const int count = std::min<int64_t>(FEW, shape.tiles() - first);
        float frequencies[F * FEW * STEP];
        for (int t = 0; t < count; ++t) {
            const Tile tile(shape, first + t);
            tile.with_outputs([&](auto has) {
                for (int w = 0; w < STEP; w += LANES) {
                    both<Spread, Vector>(
                        [&](int i) {
                            return has(i) ? load(own + tile.pixel(i) * STEP + w) : Vector{};
                        },
                        [&](int f, Vector v) { store(frequencies + (f * FEW + t) * STEP + w, v); });
                }
            });
        }
        for (int f = 0; by_weights && f < F; ++f) {
            for (int64_t c = 0; c < in; ++c) {
                float* to = by_weights + (f * in + c) * STEP;
                Together sum = Together::of(to);
                for (int t = 0; t < count; ++t) {
                    sum += image[((first + t) * F + f) * in + c] *
                           Together::of(frequencies + (f * FEW + t) * STEP);
                }
                sum.into(to);
            }
        }
        for (int f = 0; by_image && f < F; ++f) {
            for (int64_t c = 0; c < in; ++c) {
                const Together own_weights = Together::of(weights + (f * in + c) * STEP);
                for (int t = 0; t < count; ++t) {
                    float* to = by_image + (((first + t) * F + f) * in + c) * LANES;
                    const Together product =
                        own_weights * Together::of(frequencies + (f * FEW + t) * STEP);
                    Vector sum = load(to);
                    for (int w = 0; w < STEP / LANES; ++w) sum += product.at[w];
                    store(to, sum);
                }
            }
        }
    }
}

// Images are shared out among threads, each consecutive ones.
int64_t shares(const Shape& shape, int64_t threads) {
    return std::max<int64_t>(1, std::min(threads, shape.images));
}

// Derivatives by the weights' frequencies: each share of the images sums its own.
class WeightSums {
   public:
    WeightSums(const Shape& shape, int64_t threads, bool wanted = true)
        : shape_(shape),
          wanted_(wanted),
          count_(shares(shape, threads)),
          sums_(memory(wanted ? count_ * size() : 0)) {
        if (sums_ && wanted) std::memset(sums_.get(), 0, count_ * size() * sizeof(float));
    }
    bool failed() const { return !sums_; }
    // Those of STEP channels from k on; null where they are not wanted.
    float* at(int64_t share, int64_t k) {
        return wanted_ ? sums_.get() + share * size() + k / STEP * shape_.weights() : nullptr;
    }
    // dw [K, C, 3, 3]: of all shares together, where they are wanted.
    void into(float* dw) const {
        for (int64_t k = 0; wanted_ && k < shape_.out; ++k) {
            const float* own = sums_.get() + k / STEP * shape_.weights() + k % STEP;
            for (int64_t c = 0; c < shape_.in; ++c) {
                both<Fold, float>(
                    [&](int f) {
                        float total = 0;
                        for (int64_t share = 0; share < count_; ++share) {
                            total += own[share * size() + (f * shape_.in + c) * STEP];
                        }
                        return total;
                    },
                    [&](int i, float v) { dw[(k * shape_.in + c) * 9 + i] = v; });
            }
        }
    }

   private:
    int64_t size() const { return shape_.steps() * shape_.weights(); }

    const Shape& shape_;
    bool wanted_;
    int64_t count_;
    Memory sums_;
};

// An image in frequencies, and derivatives by these.
class Image {
   public:
    // What it needs of memory.
    static int64_t floats(const Shape& shape, bool differentiated) {
        const int64_t own = up(shape.frequencies(), LANES) * (differentiated ? 1 + LANES : 1);
        return own + shape.bordered() + PATCH * shape.line();
    }
    // pixels [H, W, C], or null where only the derivatives are wanted.
    Image(const float* pixels, const Shape& shape, float* memory, bool differentiated)
        : frequencies(memory),
          by_frequencies(differentiated ? memory + up(shape.frequencies(), LANES) : nullptr),
          shape_(shape),
          bordered_(memory + floats(shape, differentiated) - shape.bordered() -
                    PATCH * shape.line()),
          half_(bordered_ + shape.bordered()) {
        if (pixels) {
            border(pixels, shape, bordered_);
            transform(bordered_, shape, half_, frequencies);
        }
        if (differentiated) {
            std::memset(by_frequencies, 0, shape.frequencies() * LANES * sizeof(float));
        }
    }
    // by_pixels [H, W, C]: the derivatives by them.
    void pull_back(float* by_pixels) const {
        border(nullptr, shape_, bordered_);
        add_pulled_back(by_frequencies, shape_, half_, bordered_);
        unborder(bordered_, shape_, by_pixels);
    }

    float *frequencies, *by_frequencies;  // [tile][F][C], and sums of LANES numbers or null

   private:
    const Shape& shape_;
    float *bordered_, *half_;
};

// Calls each(share, number, image, memory for `floats`) for all images [B, H, W, C], null where
// they don't matter; then by_images are derivatives by them, or null where these are not wanted.
// Gives 1 where memory ran out, else 0.
template <class Each>
int every_image(const float* images, float* by_images, const Shape& shape, int64_t threads,
                int64_t floats, Each each) {
    const int64_t count = shares(shape, threads);
    bool failed = false;
#pragma omp parallel for num_threads(int(count)) schedule(static) reduction(|| : failed)
    for (int64_t share = 0; share < count; ++share) {
        float* own = scratch.of(up(floats, LANES) + Image::floats(shape, by_images));
        if (!own) {
            failed = true;
            continue;
        }
        const int64_t end = shape.images * (share + 1) / count;
        for (int64_t number = shape.images * share / count; number < end; ++number) {
            const Image image(images ? images + number * shape.image() : nullptr, shape,
                              own + up(floats, LANES), by_images);
            each(share, number, image, own);
            if (by_images) image.pull_back(by_images + number * shape.image());
        }
    }
    return failed;
}

}  // namespace
