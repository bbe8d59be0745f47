// What stands between two convolutions, in one pass over memory: instance normalisation, ReLU and
// 2x2 average pooling; its derivative along a direction; and both in reverse.
//
// Made for an image and a few of its channels at a time, whose pixels stay in the cache between
// the statistics and their use. Where they come from is the affair of In, which packs them, and
// where derivatives by them go that of Out, which puts them. Activations have the channels of a
// pixel side by side ("channels last") and are float32 or bfloat16; all else, and the arithmetic,
// is float32.
//
// Letters: B images, H x W pixels, C channels, n = H W. Of a channel of an image: x^ = rate (x -
// mean) with rate = 1 / sqrt(variance + epsilon), z = weight x^ + bias, and y is the mean of four
// max(z, 0). Along the directions dx, dw, db: u = rate (dx - mean dx), a = mean(x^ u),
// dx^ = u - a x^, dz = dw x^ + weight dx^ + db, and dy is the mean of four dz whose z > 0.

#pragma once

#include <cmath>

#include "memory.h"
#include "vectors.h"

// Everything called is to be inlined: else vectors go through memory, at five times the cost.
#if defined(__clang__)
#define FLATTEN
#else
#define FLATTEN __attribute__((flatten))
#endif

namespace {

constexpr float EPSILON = 1e-5f;
constexpr int STEP = 32, W = STEP / LANES;  // channels at a time, and their vectors

struct Half {  // bfloat16
    uint16_t bits;
};

typedef uint32_t Bits __attribute__((vector_size(LANES * sizeof(uint32_t)), aligned(4)));
typedef uint16_t Short
    __attribute__((vector_size(LANES * sizeof(uint16_t)), aligned(2), may_alias));

Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }

Vector load(const Half* from) {
    const Short bits = *reinterpret_cast<const Short*>(from);
    return (Vector)(__builtin_convertvector(bits, Bits) << 16);
}

void store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }

void store(Half* to, Vector value) {
    const Bits bits = (Bits)value;
    const Bits nearest = bits + 0x7fff + ((bits >> 16) & 1);          // ties to even
    const Bits rounded = value == value ? nearest : bits | 0x400000;  // a NaN stays one
    *reinterpret_cast<Short*>(to) = __builtin_convertvector(rounded >> 16, Short);
}

// STEP channels of a pixel, or a number of each of them.
struct Channels {
    Vector at[W];

    template <class From>
    static Channels of(const From* from) {
        Channels result;
        for (int w = 0; w < W; ++w) result.at[w] = load(from + w * LANES);
        return result;
    }
    template <class To>
    void into(To* to) const {
        for (int w = 0; w < W; ++w) store(to + w * LANES, at[w]);
    }
};

template <class Of>
Channels made(Of of) {
    Channels result;
    for (int w = 0; w < W; ++w) result.at[w] = of(w);
    return result;
}

Channels operator+(const Channels& a, const Channels& b) {
    return made([&](int w) { return a.at[w] + b.at[w]; });
}
Channels operator-(const Channels& a, const Channels& b) {
    return made([&](int w) { return a.at[w] - b.at[w]; });
}
Channels operator*(const Channels& a, const Channels& b) {
    return made([&](int w) { return a.at[w] * b.at[w]; });
}
Channels operator*(float a, const Channels& b) {
    return made([&](int w) { return a * b.at[w]; });
}
void operator+=(Channels& a, const Channels& b) {
    for (int w = 0; w < W; ++w) a.at[w] += b.at[w];
}
// 1 / sqrt(variance + EPSILON)
Channels rate_of(const Channels& variance) {
    Channels result;
    for (int i = 0; i < STEP; ++i) {
        result.at[i / LANES][i % LANES] =
            1 / std::sqrt(variance.at[i / LANES][i % LANES] + EPSILON);
    }
    return result;
}
// `value` where z > 0, else 0; a NaN in z, or beside it in value, is passed on as PyTorch does.
Channels passed(const Channels& z, const Channels& value) {
    return made([&](int w) { return z.at[w] <= 0 ? Vector{} : value.at[w]; });
}

// Of a pixel, where these channels of all pixels lie side by side.
Channels taken(const float* packed, int64_t pixel) { return Channels::of(packed + pixel * STEP); }

struct Sizes {
    int64_t images, height, width, channels;
    int64_t pixels() const { return height * width; }
    int64_t pooled() const { return (height / 2) * (width / 2); }
};

// The channels of an image that are being worked on.
struct Place {
    Sizes sizes;
    int64_t image, channel;

    int64_t entry() const { return image * sizes.channels + channel; }
    int64_t pixel(int64_t i) const {
        return (image * sizes.pixels() + i) * sizes.channels + channel;
    }
    // Calls use(offset of the pooled pixel, the four pixels that it is made of).
    template <class Use>
    void each_window(Use use) const {
        int64_t to = image * sizes.pooled() * sizes.channels + channel;
        for (int64_t y = 0; y < sizes.height / 2; ++y) {
            for (int64_t x = 0; x < sizes.width / 2; ++x, to += sizes.channels) {
                const int64_t corner = 2 * y * sizes.width + 2 * x;
                const int64_t four[4] = {corner, corner + 1, corner + sizes.width,
                                         corner + sizes.width + 1};
                use(to, four);
            }
        }
    }
    // Calls use(pixel) for those of an odd last row or column, which are in no window.
    template <class Use>
    void each_left_out(Use use) const {
        for (int64_t y = 0; sizes.width % 2 && y < sizes.height; ++y) {
            use(y * sizes.width + sizes.width - 1);
        }
        for (int64_t x = 0; sizes.height % 2 && x < sizes.width / 2 * 2; ++x) {
            use((sizes.height - 1) * sizes.width + x);
        }
    }
};

// Mean and rate of a channel, and z as a straight line of x.
struct Line {
    Channels mean, rate, weight, scale, shift;

    Line(const Channels& mean, const Channels& rate, const Channels& weight, const Channels& bias)
        : mean(mean),
          rate(rate),
          weight(weight),
          scale(weight * rate),
          shift(bias - mean * scale) {}
    Channels normal(const Channels& x) const { return rate * (x - mean); }
    Channels z(const Channels& x) const { return x * scale + shift; }
};

template <class Kept>
Line known(const Place& place, const Kept& kept) {
    return {Channels::of(kept.mean + place.entry()), Channels::of(kept.rate + place.entry()),
            Channels::of(kept.weight + place.channel), Channels::of(kept.bias + place.channel)};
}

template <class In, class Y>
struct Forward {
    In x;
    const float *weight, *bias;
    Y* y;
    float *mean, *rate;

    FLATTEN void at(const Place& place, float* own) const {
        const Channels centre = x.pack(place, own);
        Channels squares{};
        for (int64_t i = 0; i < place.sizes.pixels(); ++i) {
            const Channels apart = taken(own, i) - centre;
            squares += apart * apart;
        }
        const Channels variance = 1.f / place.sizes.pixels() * squares;
        const Channels inverse = rate_of(variance);
        centre.into(mean + place.entry());
        inverse.into(rate + place.entry());
        const Line line = known(place, *this);
        place.each_window([&](int64_t to, const int64_t* four) {
            Channels sum{};
            for (int i = 0; i < 4; ++i) {
                const Channels z = line.z(taken(own, four[i]));
                sum += passed(z, z);
            }
            (0.25f * sum).into(y + to);
        });
    }
};

template <class In, class Out, class Y>
struct Backward {
    In x;
    const float *mean, *rate, *weight, *bias;
    const Y* by_y;
    Out by_x;
    float *by_weight, *by_bias;  // [B, C]: of each image

    FLATTEN void at(const Place& place, float* own) const {
        x.pack(place, own);
        const Line line = known(place, *this);
        Channels sum{}, along{};
        place.each_window([&](int64_t from, const int64_t* four) {
            const Channels quarter = 0.25f * Channels::of(by_y + from);
            for (int i = 0; i < 4; ++i) {
                const Channels value = taken(own, four[i]);
                const Channels by_z = passed(line.z(value), quarter);
                sum += by_z;
                along += by_z * line.normal(value);
            }
        });
        sum.into(by_bias + place.entry());
        along.into(by_weight + place.entry());
        const float share = 1.f / place.sizes.pixels();
        sum = share * sum;
        along = share * along;
        const auto finish = [&](int64_t i, const Channels& value, const Channels& by_z) {
            by_x.put(place, i, own, line.scale * (by_z - sum - line.normal(value) * along));
        };
        place.each_window([&](int64_t from, const int64_t* four) {
            const Channels quarter = 0.25f * Channels::of(by_y + from);
            for (int i = 0; i < 4; ++i) {
                const Channels value = taken(own, four[i]);
                finish(four[i], value, passed(line.z(value), quarter));
            }
        });
        place.each_left_out([&](int64_t i) { finish(i, taken(own, i), Channels{}); });
    }
};

template <class In, class Y>
struct ForwardAlong {
    In x, dx;
    const float *weight, *weight_move, *bias, *bias_move;
    Y *y, *dy;
    float *mean, *rate, *mean_move, *overlap;

    FLATTEN void at(const Place& place, float* own) const {
        float* own_move = own + place.sizes.pixels() * STEP;
        const Channels centre = x.pack(place, own), centre_move = dx.pack(place, own_move);
        Channels squares{}, products{};
        for (int64_t i = 0; i < place.sizes.pixels(); ++i) {
            const Channels apart = taken(own, i) - centre;
            squares += apart * apart;
            products += apart * (taken(own_move, i) - centre_move);
        }
        const float share = 1.f / place.sizes.pixels();
        const Channels variance = share * squares;
        const Channels inverse = rate_of(variance);
        const Channels a = share * products * inverse * inverse;
        centre.into(mean + place.entry());
        inverse.into(rate + place.entry());
        centre_move.into(mean_move + place.entry());
        a.into(overlap + place.entry());
        const Line line = known(place, *this);
        const Channels move = Channels::of(weight_move + place.channel);
        const Channels by_x = (move - line.weight * a) * line.rate;
        const Channels rest =
            Channels::of(bias_move + place.channel) - by_x * line.mean - line.scale * centre_move;
        place.each_window([&](int64_t to, const int64_t* four) {
            Channels sum{}, sum_move{};
            for (int i = 0; i < 4; ++i) {
                const Channels value = taken(own, four[i]), value_move = taken(own_move, four[i]);
                const Channels z = line.z(value);
                sum += passed(z, z);
                sum_move += passed(z, value * by_x + value_move * line.scale + rest);
            }
            (0.25f * sum).into(y + to);
            (0.25f * sum_move).into(dy + to);
        });
    }
};

// With p and q, what <by_y, y> + <by_dy, dy> changes by with z and dz (0 where z <= 0):
//   e = weight p + dw q and weight q by x^ and dx^;
//   a' = -sum(weight q x^) by a;
//   c = e - a weight q + u a' / n by x^ once dx^ is made of x^ and u;
//   rate (weight q - mean(weight q) + x^ a' / n) by dx;
//   rate (c - mean(c) - x^ (sum(e x^) + sum(weight q u) + 3 a a') / n) by x.
template <class In, class Out, class Y>
struct BackwardAlong {
    In x, dx;
    const float *mean, *rate, *mean_move, *overlap, *weight, *weight_move, *bias;
    const Y *by_y, *by_dy;
    Out by_x, by_dx;
    float *by_weight, *by_weight_move, *by_bias, *by_bias_move;  // [B, C]: of each image

    FLATTEN void at(const Place& place, float* own) const {
        float* own_move = own + place.sizes.pixels() * STEP;
        x.pack(place, own);
        dx.pack(place, own_move);
        const Line line = known(place, *this);
        const Channels centre_move = Channels::of(mean_move + place.entry());
        const Channels a = Channels::of(overlap + place.entry());
        const Channels move = Channels::of(weight_move + place.channel);
        Channels p{}, q{}, p_normal{}, q_normal{}, q_u{};
        place.each_window([&](int64_t from, const int64_t* four) {
            const Channels quarter = 0.25f * Channels::of(by_y + from);
            const Channels quarter_move = 0.25f * Channels::of(by_dy + from);
            for (int i = 0; i < 4; ++i) {
                const Channels value = taken(own, four[i]);
                const Channels z = line.z(value), normal = line.normal(value);
                const Channels by_z = passed(z, quarter), by_dz = passed(z, quarter_move);
                p += by_z;
                p_normal += by_z * normal;
                q += by_dz;
                q_normal += by_dz * normal;
                q_u += by_dz * (line.rate * (taken(own_move, four[i]) - centre_move));
            }
        });
        p.into(by_bias + place.entry());
        q.into(by_bias_move + place.entry());
        (p_normal + q_u - a * q_normal).into(by_weight + place.entry());
        q_normal.into(by_weight_move + place.entry());
        const float share = 1.f / place.sizes.pixels();
        const Channels by_a = -share * line.weight * q_normal;
        const Channels mean_e = share * (line.weight * p + move * q);
        const Channels mean_q = share * line.weight * q;
        const Channels mean_c = mean_e - a * mean_q;
        const Channels along =
            share * (line.weight * (p_normal + q_u) + move * q_normal) + 3.f * a * by_a;
        const auto finish = [&](int64_t i, const Channels& value, const Channels& by_z,
                                const Channels& by_dz) {
            const Channels normal = line.normal(value);
            const Channels u = line.rate * (taken(own_move, i) - centre_move);
            const Channels by_move = line.weight * by_dz;
            const Channels c = line.weight * by_z + move * by_dz - a * by_move + by_a * u;
            by_dx.put(place, i, own_move, line.rate * (by_move - mean_q + normal * by_a));
            by_x.put(place, i, own, line.rate * (c - mean_c - normal * along));
        };
        place.each_window([&](int64_t from, const int64_t* four) {
            const Channels quarter = 0.25f * Channels::of(by_y + from);
            const Channels quarter_move = 0.25f * Channels::of(by_dy + from);
            for (int i = 0; i < 4; ++i) {
                const Channels value = taken(own, four[i]);
                const Channels z = line.z(value);
                finish(four[i], value, passed(z, quarter), passed(z, quarter_move));
            }
        });
        place.each_left_out([&](int64_t i) { finish(i, taken(own, i), Channels{}, Channels{}); });
    }
};

}  // namespace
