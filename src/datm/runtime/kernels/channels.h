// Channels of a pixel that are worked on together, float32 or bfloat16 in memory.

#pragma once

#include "vectors.h"

// Everything called is to be inlined: else vectors go through memory, at five times the cost.
#if defined(__clang__)
#define FLATTEN
#else
#define FLATTEN __attribute__((flatten))
#endif

namespace {

constexpr int STEP = 32;  // channels that are brought together

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

float sum_of(Vector value) {
    float sum = 0;
    for (int i = 0; i < LANES; ++i) sum += value[i];
    return sum;
}

// Channels of a pixel, N vectors of them, or a number of each.
template <int N>
struct Numbers {
    Vector at[N];

    template <class From>
    static Numbers of(const From* from) {
        Numbers result;
        for (int n = 0; n < N; ++n) result.at[n] = load(from + n * LANES);
        return result;
    }
    template <class To>
    void into(To* to) const {
        for (int n = 0; n < N; ++n) store(to + n * LANES, at[n]);
    }
};

constexpr int PART = 16;  // channels that are worked on together: as many as registers hold

using Channels = Numbers<PART / LANES>;
using Together = Numbers<STEP / LANES>;

// PART of STEP, from channel k of these on.
Channels part_of(const Together& all, int k) {
    Channels result;
    for (int n = 0; n < PART / LANES; ++n) result.at[n] = all.at[k / LANES + n];
    return result;
}

template <int N, class Of>
Numbers<N> made(Of of) {
    Numbers<N> result;
    for (int n = 0; n < N; ++n) result.at[n] = of(n);
    return result;
}

template <int N>
Numbers<N> operator+(const Numbers<N>& a, const Numbers<N>& b) {
    return made<N>([&](int n) { return a.at[n] + b.at[n]; });
}
template <int N>
Numbers<N> operator-(const Numbers<N>& a, const Numbers<N>& b) {
    return made<N>([&](int n) { return a.at[n] - b.at[n]; });
}
template <int N>
Numbers<N> operator*(const Numbers<N>& a, const Numbers<N>& b) {
    return made<N>([&](int n) { return a.at[n] * b.at[n]; });
}
template <int N>
Numbers<N> operator*(float a, const Numbers<N>& b) {
    return made<N>([&](int n) { return a * b.at[n]; });
}
template <int N>
void operator+=(Numbers<N>& a, const Numbers<N>& b) {
    for (int n = 0; n < N; ++n) a.at[n] += b.at[n];
}

}  // namespace
