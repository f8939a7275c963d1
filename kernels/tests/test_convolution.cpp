// Convolutions, their gradients and their activation, against loops in double.
#include "tests.h"

template <class T>
void test_convolution(const Scene& s, int c_in, int c_out, bool with_bias, bool with_background) {
    const std::size_t n = s.in.size() / 4, m = s.out.size() / 4, volume = std::size_t(s.geometry.volume());
    const std::size_t ci = std::size_t(c_in), co = std::size_t(c_out);
    const std::vector<T> features = random_values<T>(n * ci), weight = random_values<T>(co * volume * ci),
                         bias = random_values<T>(co), background = random_values<T>(ci),
                         grad = random_values<T>(m * co);
    Convolution<T> args{features.data(),
                        weight.data(),
                        with_bias ? bias.data() : nullptr,
                        with_background ? background.data() : nullptr,
                        c_in,
                        c_out};

    std::vector<double> value(m * co, 0), g_features(n * ci, 0), g_weight(weight.size(), 0), g_bias(co, 0),
        g_background(ci, 0);
    for (std::size_t o = 0; o < m; ++o)
        for (std::size_t c = 0; c < co; ++c) {
            const double g = double(grad[o * co + c]);
            double sum = with_bias ? double(bias[c]) : 0;
            g_bias[c] += g;
            for (const naive::Meeting& meeting : s.meetings[o]) {
                if (meeting.in < 0 && !with_background) continue;
                const T* x = meeting.in < 0 ? background.data() : features.data() + std::size_t(meeting.in) * ci;
                double* gx = meeting.in < 0 ? g_background.data() : g_features.data() + std::size_t(meeting.in) * ci;
                const std::size_t w = (c * volume + std::size_t(meeting.offset)) * ci;
                for (std::size_t i = 0; i < ci; ++i) {
                    sum += double(weight[w + i]) * double(x[i]);
                    g_weight[w + i] += g * double(x[i]);
                    gx[i] += g * double(weight[w + i]);
                }
            }
            value[o * co + c] = sum;
        }
    // a window that sees no site: bias, and all weights times the background
    const std::vector<T> grad_of_background = random_values<T>(co);
    std::vector<double> empty_window(co, 0);
    double terms = 1e-3;  // the largest sum of their sizes: what may cancel in the sum itself, but rounds all the same
    for (std::size_t c = 0; c < co; ++c) {
        empty_window[c] = with_bias ? double(bias[c]) : 0;
        g_bias[c] += double(grad_of_background[c]);
        double sizes = std::abs(empty_window[c]);
        for (std::size_t w = 0; with_background && w < volume * ci; ++w) {
            empty_window[c] += double(weight[c * volume * ci + w]) * double(background[w % ci]);
            sizes += std::abs(double(weight[c * volume * ci + w]) * double(background[w % ci]));
            g_weight[c * volume * ci + w] += double(grad_of_background[c]) * double(background[w % ci]);
            g_background[w % ci] += double(grad_of_background[c]) * double(weight[c * volume * ci + w]);
        }
        terms = std::max(terms, sizes);
    }
    std::vector<T> first, first_gradients;
    for (int threads : {1, 2, 3, 8}) {
        std::vector<T> result(m * co, T(77)), made_background(co);
        convolution(s.plan, args, result.data(), made_background.data(), threads);
        std::vector<T> gradients(n * ci + weight.size() + co + ci, T(77));
        T* p = gradients.data();
        convolution_backward<T>(
            s.plan, args, grad.data(), grad_of_background.data(),
            {p, p + n * ci, p + n * ci + weight.size(), with_background ? p + n * ci + weight.size() + co : nullptr},
            threads);
        if (threads == 1) {
            first = result;
            first_gradients = gradients;
            check_close(result, value, 1, "convolution");
            check_close(made_background, empty_window, 1, "background of the output", terms);
            const auto cut = [&](std::size_t from, std::size_t size) {
                return std::vector<T>(p + from, p + from + size);
            };
            check_close(cut(0, n * ci), g_features, 1, "gradient of features");
            check_close(cut(n * ci, weight.size()), g_weight, 2, "gradient of weight");
            check_close(cut(n * ci + weight.size(), co), g_bias, 2, "gradient of bias");
            // a difference of sums over all rows: exact to the size of those
            if (with_background)
                check_close(cut(n * ci + weight.size() + co, ci), g_background, 4, "gradient of background",
                            std::sqrt(double(m * co)));
        }
        check(same(result, first), "convolution is bit-identical for any number of threads");
        check(same(gradients, first_gradients), "gradients are bit-identical for any number of threads");
    }

    args.activation = Activation::leaky_relu;
    args.slope = T(0.25);
    std::vector<T> activated(m * co);
    convolution<T>(s.plan, args, activated.data(), nullptr, 2);
    for (T& v : first) v = v > 0 ? v : T(0.25) * v;
    check(same(activated, first), "fused activation");
    std::vector<T> back(m * co), slow_back(m * co);
    leaky_relu_backward(grad.data(), first.data(), T(0.25), std::int64_t(m * co), back.data(), 2);
    for (std::size_t i = 0; i < m * co; ++i) slow_back[i] = (first[i] > 0 ? T(1) : T(0.25)) * grad[i];
    check(same(back, slow_back), "gradient of the activation");
}

template void test_convolution<float>(const Scene&, int, int, bool, bool);
template void test_convolution<double>(const Scene&, int, int, bool, bool);
