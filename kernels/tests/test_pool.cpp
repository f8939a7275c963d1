// Pools, alone and after a convolution.
#include "tests.h"

template <class T>
void test_pools(const Scene& s, int channels, bool with_background) {
    const std::size_t n = s.in.size() / 4, m = s.out.size() / 4, c = std::size_t(channels);
    std::vector<T> features = random_values<T>(n * c), background = random_values<T>(c);
    const std::vector<T> grad = random_values<T>(m * c);
    // ties, so that the first offset has to win
    for (T& v : features) v = T(std::round(v * 4) / 4);
    for (T& v : background) v = T(std::round(v * 4) / 4);

    std::vector<T> maximum(m * c), g_max(n * c, 0);
    std::vector<std::int32_t> origin(m * c);
    std::vector<double> mean(m * c), gm_features(n * c, 0), gm_background(c, 0), ga_features(n * c, 0),
        ga_background(c, 0);
    for (std::size_t o = 0; o < m; ++o)
        for (std::size_t j = 0; j < c; ++j) {
            T best = 0;
            int from = -1, members = 0;
            double sum = 0;
            for (const naive::Meeting& meeting : s.meetings[o]) {
                if (meeting.in < 0 && !with_background) continue;
                const T v = meeting.in < 0 ? background[j] : features[std::size_t(meeting.in) * c + j];
                if (members == 0 || v > best) {
                    best = v;
                    from = meeting.in;
                }
                sum += double(v);
                ++members;
            }
            maximum[o * c + j] = best;
            origin[o * c + j] = from;
            mean[o * c + j] = members ? sum / members : 0;
            const double g = double(grad[o * c + j]);
            (from < 0 ? gm_background[j] : gm_features[std::size_t(from) * c + j]) += g;
            for (const naive::Meeting& meeting : s.meetings[o]) {
                if (meeting.in < 0 && !with_background) continue;
                (meeting.in < 0 ? ga_background[j] : ga_features[std::size_t(meeting.in) * c + j]) += g / members;
            }
        }

    std::vector<T> first;
    for (int threads : {1, 2, 8}) {
        std::vector<T> got(m * c), averaged(m * c), g_features(n * c), g_background(c), a_features(n * c),
            a_background(c);
        std::vector<std::int32_t> rows(m * c);
        max_pool(s.plan, features.data(), with_background ? background.data() : nullptr, channels, got.data(),
                 rows.data(), threads);
        check(same(got, maximum), "max pool");
        check(same(rows, origin), "origin of the maximum");
        max_pool_backward(s.plan, grad.data(), rows.data(), channels, g_features.data(), g_background.data(), threads);
        check_close(g_features, gm_features, 2, "max pool gradient of features");
        check_close(g_background, gm_background, 2, "max pool gradient of background");
        avg_pool(s.plan, features.data(), with_background ? background.data() : nullptr, channels, averaged.data(),
                 threads);
        check_close(averaged, mean, 2, "mean pool");
        avg_pool_backward(s.plan, grad.data(), channels, !with_background, a_features.data(), a_background.data(),
                          threads);
        check_close(a_features, ga_features, 2, "mean pool gradient of features");
        check_close(a_background, ga_background, 2, "mean pool gradient of background");
        for (const auto* part : {&g_background, &a_features, &a_background})
            g_features.insert(g_features.end(), part->begin(), part->end());
        if (threads == 1) first = g_features;
        check(same(g_features, first), "pool gradients are bit-identical for any number of threads");
    }
}

// Convolution and max pool at once against one after the other.
template <class T>
void test_pooled_convolution(const Scene& s, int c_in, int c_out, bool with_background) {
    Geometry g{{3, 2, 3}, {2, 2, 2}, {1, 0, 1}, {1, 1, 1}, s.geometry.out_shape, {}, s.geometry.batch, false};
    for (std::size_t a = 0; a < 3; ++a) {
        if (g.in_shape[a] + 2 * g.padding[a] < g.kernel[a]) return;
        g.out_shape[a] = (g.in_shape[a] + 2 * g.padding[a] - g.kernel[a]) / 2 + 1;
    }
    const Plan pool = make_plan(s.plan.out, output_sites(s.plan.out, g, 1), g);
    const std::size_t n = s.in.size() / 4, m = s.out.size() / 4, p = std::size_t(site_count(pool.out)),
                      co = std::size_t(c_out), ci = std::size_t(c_in);
    const std::vector<T> features = random_values<T>(n * ci),
                         weight = random_values<T>(co * std::size_t(s.geometry.volume()) * ci),
                         bias = random_values<T>(co), background = random_values<T>(ci),
                         grad_of_background = random_values<T>(co), grad = random_values<T>(p * co);
    const Convolution<T> args{
        features.data(), weight.data(), bias.data(), with_background ? background.data() : nullptr, c_in, c_out};
    std::vector<T> pool_background(co), got_background(co);
    const T* ground = with_background ? pool_background.data() : nullptr;
    std::vector<T> whole(m * co), expected(p * co), got(p * co);
    std::vector<std::int32_t> expected_rows(p * co), rows(p * co);
    convolution(s.plan, args, whole.data(), pool_background.data(), 2);
    max_pool(pool, whole.data(), ground, c_out, expected.data(), expected_rows.data(), 2);
    pooled_convolution(s.plan, args, pool, got.data(), rows.data(), got_background.data(), 3);
    check(same(got_background, pool_background), "background of convolution and max pool");
    check(same(got, expected) && same(rows, expected_rows), "convolution and max pool at once");
    Convolution<T> activated = args;
    activated.activation = Activation::leaky_relu;
    activated.slope = T(0.25);
    pooled_convolution<T>(s.plan, activated, pool, got.data(), nullptr, nullptr, 2);
    convolution(s.plan, activated, whole.data(), pool_background.data(), 2);
    max_pool(pool, whole.data(), ground, c_out, expected.data(), expected_rows.data(), 2);
    check(same(got, expected), "convolution, max pool and activation at once");

    std::vector<T> g_whole(m * co), g_ground(co), first;
    max_pool_backward(pool, grad.data(), expected_rows.data(), c_out, g_whole.data(), g_ground.data(), 2);
    for (bool features_too : {false, true})
        for (int threads : {1, 3}) {
            max_pool(pool, whole.data(), ground, c_out, expected.data(), expected_rows.data(), 2);
            max_pool_backward(pool, grad.data(), expected_rows.data(), c_out, g_whole.data(), g_ground.data(), 2);
            for (std::size_t i = 0; i < co; ++i) g_ground[i] += grad_of_background[i];
            std::vector<T> a(features_too ? n * ci : 0), aw(weight.size()), ab(co), ag(ci), b(a), bw(aw), bb(ab),
                bg(ag);
            convolution_backward<T>(
                s.plan, args, g_whole.data(), g_ground.data(),
                {features_too ? a.data() : nullptr, aw.data(), ab.data(), with_background ? ag.data() : nullptr}, 2);
            pooled_convolution_backward<T>(
                s.plan, args, pool, grad.data(), grad_of_background.data(), expected_rows.data(),
                {features_too ? b.data() : nullptr, bw.data(), bb.data(), with_background ? bg.data() : nullptr},
                threads);
            check(same(a, b) && same(aw, bw) && same(ab, bb) && same(ag, bg),
                  "gradients of convolution and max pool at once");
        }
}

template void test_pools<float>(const Scene&, int, bool);
template void test_pools<double>(const Scene&, int, bool);
template void test_pooled_convolution<float>(const Scene&, int, int, bool);
template void test_pooled_convolution<double>(const Scene&, int, int, bool);
