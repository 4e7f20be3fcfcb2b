// One 5x5 convolution, 2x2 max-pooling and ReLU of K models, forward and backward, on one thread.
//
// A gradient passes pooling at one position of four, and ReLU removes more of them. The loops visit only the positions
// that have a gradient, and write the gradient of the input once. Maps are channels-last, [B, H, W, K * channels].

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int BYTES = 64;
#else
constexpr int BYTES = 32;
#endif
constexpr int SIDE = 5;    // of a filter
constexpr int TILE = 4;    // images whose values stay in the cache
constexpr int SUMS = 12;   // vectors that are summed in registers at a time
constexpr int NO_PLACE = 4;  // ReLU cuts the gradient of this window

template <typename T> struct Lanes {
    typedef T Vector __attribute__((vector_size(BYTES), aligned(sizeof(T)), may_alias));
    typedef T Aligned __attribute__((vector_size(BYTES), may_alias));
};

// Values whose vectors do not cross cache lines. Initially 0.
template <typename T> class Values {
    struct alignas(BYTES) Line {
        T values[BYTES / sizeof(T)];
    };
    std::vector<Line> lines;

  public:
    explicit Values(size_t count) : lines((count * sizeof(T) + BYTES - 1) / BYTES) {}
    T *data() { return lines.data()->values; }
    const T *data() const { return lines.data()->values; }
};

// A row of a filter or patch is SIDE * C values, padded to whole vectors. The padding of a filter is 0; the one of a
// patch is whatever follows, and its sums are not used.
template <typename T, int C> struct Layout {
    static constexpr int LANES = BYTES / sizeof(T), VECTORS = (SIDE * C + LANES - 1) / LANES, ROW = VECTORS * LANES;
    static constexpr int FILTER = SIDE * ROW, ROWS = SUMS / VECTORS < SIDE ? SUMS / VECTORS : SIDE;
};

// to += sum over n of values[n] * (SIDE rows at from + offsets[n]); rows FIRST to FIRST + COUNT - 1. FROM and TO are the
// distances of rows.
template <typename T, int C, int FROM, int TO, int FIRST, int COUNT>
inline void add_rows(int n, const T *values, const int *offsets, const T *from, T *to) {
    typedef typename Lanes<T>::Vector V;
    typedef Layout<T, C> L;
    V sums[COUNT][L::VECTORS] = {};
    from += FIRST * FROM, to += FIRST * TO;
    for (int i = 0; i < n; i++) {
        const T value = values[i], *start = from + offsets[i];
#pragma GCC unroll 8
        for (int r = 0; r < COUNT; r++)
#pragma GCC unroll 8
            for (int v = 0; v < L::VECTORS; v++) sums[r][v] += value * *(const V *)(start + r * FROM + v * L::LANES);
    }
#pragma GCC unroll 8
    for (int r = 0; r < COUNT; r++)
#pragma GCC unroll 8
        for (int v = 0; v < L::VECTORS; v++) *(V *)(to + r * TO + v * L::LANES) += sums[r][v];
}

template <typename T, int C, int FROM, int TO, int FIRST = 0>
inline void add(int n, const T *values, const int *offsets, const T *from, T *to) {
    constexpr int left = SIDE - FIRST, count = left < Layout<T, C>::ROWS ? left : Layout<T, C>::ROWS;
    add_rows<T, C, FROM, TO, FIRST, count>(n, values, offsets, from, to);
    if constexpr (FIRST + count < SIDE) add<T, C, FROM, TO, FIRST + count>(n, values, offsets, from, to);
}

// The forward pass. Shared images: one convolution to the channels of all models; else one for each model. A step of the
// inner loop adds one tap to the four outputs of each of WINDOWS pooling windows, for one vector of output channels.
template <typename T, int C, int O, int W> class Forward {
    typedef typename Lanes<T>::Vector V;
    typedef typename Lanes<T>::Aligned Aligned;
    typedef decltype(V() > V()) Places;
    static constexpr int LANES = BYTES / sizeof(T), TAPS = SIDE * SIDE * C, WINDOWS = SUMS / 4;
    static constexpr int w = (W - SIDE + 1) / 2, pixels = W * W, row = W * C;

    const int K, groups, outs, blocks;
    Values<T> filters, biases, image;

  public:
    Forward(int K, bool shared)
        : K(K), groups(shared ? 1 : K), outs(shared ? K * O : O), blocks((outs + LANES - 1) / LANES),
          filters((size_t)groups * blocks * TAPS * LANES), biases((size_t)groups * blocks * LANES),
          image((size_t)pixels * C) {}

    void run(const T *x, const T *weight, const T *bias, T *pooled, uint8_t *places, int B) {
        arrange(weight, bias);
        for (int b = 0; b < B; b++)
            for (int g = 0; g < groups; g++) {
                const T *in = x + (size_t)b * pixels * C * groups;
                if (groups > 1) {
                    copy(in + (size_t)g * C);
                    in = image.data();
                }
                const size_t at = (size_t)b * w * w * K * O + (size_t)g * O;
                for (int block = 0; block < blocks; block++) {
                    int window = 0;
                    for (; window + WINDOWS <= w * w; window += WINDOWS)
                        windows<WINDOWS>(in, window, g, block, pooled + at, places + at);
                    for (; window < w * w; window++) windows<1>(in, window, g, block, pooled + at, places + at);
                }
            }
    }

  private:
    // To [group, block, row, column, input channel, output channel of the block]; channels that do not exist are 0.
    void arrange(const T *weight, const T *bias) {
        for (int g = 0; g < groups; g++)
            for (int out = 0; out < outs; out++) {
                const size_t channel = (size_t)g * O + out, block = (size_t)g * blocks + out / LANES;
                biases.data()[block * LANES + out % LANES] = bias[channel];
                T *to = filters.data() + block * TAPS * LANES + out % LANES;
                for (int r = 0; r < SIDE * SIDE; r++)
                    for (int c = 0; c < C; c++) to[(r * C + c) * LANES] = weight[(channel * C + c) * SIDE * SIDE + r];
            }
    }

    void copy(const T *from) {
        T *to = image.data();
        for (int p = 0; p < pixels; p++, from += (size_t)groups * C, to += C)
            for (int c = 0; c < C; c++) to[c] = from[c];
    }

    // Not inlined: constants of the pooling would take registers of the sums.
    template <int COUNT>
    __attribute__((noinline)) void windows(const T *in, int window, int g, int block, T *out, uint8_t *place) const {
        const size_t first = (size_t)g * blocks + block;
        const T *filter = filters.data() + first * TAPS * LANES;
        const V bias = *(const Aligned *)(biases.data() + first * LANES);
        V sums[COUNT][4];
        const T *upper[COUNT];
#pragma GCC unroll 8
        for (int n = 0; n < COUNT; n++) {
            upper[n] = in + (size_t)(2 * ((window + n) / w) * W + 2 * ((window + n) % w)) * C;
#pragma GCC unroll 8
            for (int p = 0; p < 4; p++) sums[n][p] = bias;
        }
        for (int r = 0; r < SIDE; r++)
            for (int tap = r * row; tap < r * row + SIDE * C; tap++, filter += LANES) {
                const V weights = *(const Aligned *)filter;
#pragma GCC unroll 8
                for (int n = 0; n < COUNT; n++)
#pragma GCC unroll 8
                    for (int p = 0; p < 4; p++) sums[n][p] += upper[n][tap + p / 2 * row + p % 2 * C] * weights;
            }
#pragma GCC unroll 8
        for (int n = 0; n < COUNT; n++) {
            const size_t at = (size_t)(window + n) * K * O + (size_t)block * LANES;
            pool(sums[n], out + at, place + at, outs - block * LANES);
        }
    }

    // As in PyTorch: the first largest value of a window, or its last NaN.
    static void pool(const V *outputs, T *out, uint8_t *place, int channels) {
        const Places zero = {};
        V best = outputs[0];
        Places found = zero;
#pragma GCC unroll 8
        for (int p = 1; p < 4; p++) {
            const Places taken = (outputs[p] > best) | (outputs[p] != outputs[p]);
            best = taken ? outputs[p] : best, found = taken ? zero + p : found;
        }
        const Places cut = best <= 0;
        best = cut ? V{} : best, found = cut ? zero + NO_PLACE : found;
        if (channels >= LANES) {
            *(V *)out = best;
            for (int c = 0; c < LANES; c++) place[c] = (uint8_t)found[c];
        } else {
            for (int c = 0; c < LANES; c++)
                if (c < channels) out[c] = best[c], place[c] = (uint8_t)found[c];
        }
    }
};

template <typename T, int C, int O, int W> class Backward {
    typedef Layout<T, C> L;
    static constexpr int FILTER = L::FILTER, w = (W - SIDE + 1) / 2, pixels = W * W;
    static constexpr int SIZE = (pixels * C / L::LANES + 2) * L::LANES;  // of an image: it has a padding, as its rows

    const int K, inputs;
    Values<T> filters, filter_sums, images, input_gradient;
    std::vector<T> bias_sums, values;
    std::vector<int> offsets;

  public:
    Backward(int K, bool shared)
        : K(K), inputs(shared ? 1 : K), filters((size_t)K * O * FILTER), filter_sums((size_t)K * O * FILTER),
          images((size_t)TILE * SIZE), input_gradient(SIZE), bias_sums((size_t)K * O), values((size_t)O * w * w),
          offsets((size_t)O * w * w) {}

    void run(const T *x, const T *weight, const uint8_t *places, const T *gradient, T *dx, T *dw, T *db, int B) {
        each_weight([&](size_t padded, size_t plain) { filters.data()[padded] = weight[plain]; });
        for (int tile = 0; tile < B; tile += TILE) {
            const int count = B - tile < TILE ? B - tile : TILE;
            for (int k = 0; k < K; k++) {
                if (k < inputs)
                    for (int b = 0; b < count; b++) copy(x + image(tile + b, inputs, k), inputs, images.data() + b * SIZE, 1);
                for (int b = 0; b < count; b++) {
                    const size_t start = (size_t)(tile + b) * w * w * K * O + (size_t)k * O;
                    filter_gradient(places + start, gradient + start, images.data() + b * SIZE, k);
                    if (!dx) continue;
                    image_gradient(places + start, gradient + start, k);
                    copy(input_gradient.data(), 1, dx + image(tile + b, K, k), K);
                }
            }
        }
        each_weight([&](size_t padded, size_t plain) { dw[plain] = filter_sums.data()[padded]; });
        std::memcpy(db, bias_sums.data(), bias_sums.size() * sizeof(T));
    }

  private:
    size_t image(int b, int models, int k) const { return (size_t)b * pixels * models * C + (size_t)k * C; }

    int corner(int i, int j, int place) const { return ((2 * i + place / 2) * W + 2 * j + place % 2) * C; }

    void copy(const T *from, int from_models, T *to, int to_models) const {
        for (int p = 0; p < pixels; p++, from += (size_t)from_models * C, to += (size_t)to_models * C)
            for (int c = 0; c < C; c++) to[c] = from[c];
    }

    template <typename Use> void each_weight(Use use) const {
        for (size_t m = 0; m < (size_t)K * O; m++)
            for (int c = 0; c < C; c++)
                for (int r = 0; r < SIDE; r++)
                    for (int s = 0; s < SIDE; s++)
                        use(m * FILTER + r * L::ROW + s * C + c, ((m * C + c) * SIDE + r) * SIDE + s);
    }

    void filter_gradient(const uint8_t *places, const T *gradient, const T *in, int k) {
        const int shift[NO_PLACE + 1] = {0, C, W * C, W * C + C, 0};
        int count[O] = {};
        T sum[O] = {};
        for (int i = 0; i < w; i++)
            for (int j = 0; j < w; j++, places += (size_t)K * O, gradient += (size_t)K * O)
                for (int o = 0; o < O; o++) {
                    const int n = o * w * w + count[o];
                    offsets[n] = corner(i, j, 0) + shift[places[o]];
                    values[n] = gradient[o];
                    count[o] += places[o] < NO_PLACE;
                    sum[o] += places[o] < NO_PLACE ? gradient[o] : 0;
                }
        for (int o = 0; o < O; o++) {
            add<T, C, W * C, L::ROW>(count[o], &values[o * w * w], &offsets[o * w * w], in,
                                     filter_sums.data() + (size_t)(k * O + o) * FILTER);
            bias_sums[k * O + o] += sum[o];
        }
    }

    void image_gradient(const uint8_t *places, const T *gradient, int k) {
        std::memset(input_gradient.data(), 0, SIZE * sizeof(T));
        for (int i = 0; i < w; i++)
            for (int j = 0; j < w; j++, places += (size_t)K * O, gradient += (size_t)K * O) {
                int count[NO_PLACE + 1] = {}, filter[NO_PLACE + 1][O];
                T value[NO_PLACE + 1][O];
                for (int o = 0; o < O; o++) {
                    const int place = places[o], n = count[place]++;
                    filter[place][n] = o * FILTER;
                    value[place][n] = gradient[o];
                }
                for (int place = 0; place < NO_PLACE; place++)
                    if (count[place])
                        add<T, C, L::ROW, W * C>(count[place], value[place], filter[place],
                                                 filters.data() + (size_t)k * O * FILTER,
                                                 input_gradient.data() + corner(i, j, place));
            }
    }
};

}  // namespace

#define LAYER(T, NAME, LAYER, C, O, W)                                                                                  \
    void forward##LAYER##_##NAME(const T *x, const T *weight, const T *bias, T *pooled, uint8_t *places, int B, int K,  \
                                 int shared) {                                                                          \
        Forward<T, C, O, W>(K, shared).run(x, weight, bias, pooled, places, B);                                         \
    }                                                                                                                   \
    void backward##LAYER##_##NAME(const T *x, const T *weight, const uint8_t *places, const T *gradient, T *dx, T *dw,  \
                                  T *db, int B, int K, int shared) {                                                    \
        Backward<T, C, O, W>(K, shared).run(x, weight, places, gradient, dx, dw, db, B);                                \
    }

extern "C" {
LAYER(float, float32, 1, 3, 6, 32)
LAYER(float, float32, 2, 6, 16, 14)
LAYER(double, float64, 1, 3, 6, 32)
LAYER(double, float64, 2, 6, 16, 14)
}
