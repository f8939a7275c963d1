// Three layers in one call against one after the other.
#include "tests.h"

namespace {

// Against the layers' own forward and backward passes.
template <class T>
void test_chain_backward(const std::vector<LayerPlan>& plans, std::vector<Convolution<T>> layers,
                         const std::vector<T>& features, const T* background, int threads) {
    struct Of {
        std::vector<T> values, ground, input, weight, bias, input_ground;
        std::vector<std::int32_t> rows;
    };
    const std::size_t count = layers.size();
    std::vector<Of> kept(count), one_call(count), one_by_one(count);
    std::vector<LayerValues<T>> made;
    std::vector<ConvolutionGradients<T>> results;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t ci = std::size_t(layers[i].c_in), co = std::size_t(layers[i].c_out),
                          n = std::size_t(site_count(plans[i].convolution.in)),
                          m = std::size_t(site_count(plans[i].out())),
                          volume = std::size_t(plans[i].convolution.geometry.volume());
        kept[i].values.resize(m * co);
        kept[i].ground.resize(co);
        kept[i].rows.resize(m * co);
        for (Of* of : {&one_call[i], &one_by_one[i]}) {
            of->input.resize(n * ci);
            of->weight.resize(co * volume * ci);
            of->bias.resize(co);
            of->input_ground.resize(ci);
        }
        made.push_back({kept[i].values.data(), plans[i].pool ? kept[i].rows.data() : nullptr,
                        background != nullptr ? kept[i].ground.data() : nullptr});
        results.push_back({nullptr, one_call[i].weight.data(), one_call[i].bias.data(), nullptr});
    }
    convolution_chain<T>(plans, layers, features.data(), background, made, threads);
    std::vector<T> grad = random_values<T>(kept.back().values.size()),
                   grad_ground = random_values<T>(kept.back().ground.size());
    const T* of_ground = background != nullptr ? grad_ground.data() : nullptr;
    results[0].features = one_call[0].input.data();
    results[0].background = background != nullptr ? one_call[0].input_ground.data() : nullptr;
    convolution_chain_backward<T>(plans, layers, features.data(), background, made, grad.data(), of_ground, results,
                                  threads);

    std::vector<T> frozen = one_call[2].weight;  // without the gradients before it
    std::fill(one_call[2].weight.begin(), one_call[2].weight.end(), T(7));
    convolution_chain_backward<T>(plans, layers, features.data(), background, made, grad.data(), of_ground,
                                  {{}, {}, {nullptr, one_call[2].weight.data(), nullptr, nullptr}}, threads);
    check(same(one_call[2].weight, frozen), "gradient of the last layer alone");

    for (std::size_t i = count; i-- > 0;) {
        Convolution<T> layer = layers[i];
        layer.features = i == 0 ? features.data() : kept[i - 1].values.data();
        layer.background = background == nullptr ? nullptr : i == 0 ? background : kept[i - 1].ground.data();
        Of& of = one_by_one[i];
        std::vector<T> values(kept[i].values.size()), ground(kept[i].ground.size());
        std::vector<std::int32_t> rows(kept[i].rows.size());
        if (plans[i].pool)
            pooled_convolution<T>(plans[i].convolution, layer, *plans[i].pool, values.data(), rows.data(),
                                  ground.data(), threads);
        else
            convolution(plans[i].convolution, layer, values.data(), ground.data(), threads);
        check(same(values, kept[i].values), "values kept for the gradient");
        if (layer.activation == Activation::leaky_relu) {
            leaky_relu_backward(grad.data(), values.data(), layer.slope, std::int64_t(grad.size()), grad.data(),
                                threads);
            leaky_relu_backward(grad_ground.data(), ground.data(), layer.slope, std::int64_t(grad_ground.size()),
                                grad_ground.data(), threads);
        }
        const ConvolutionGradients<T> result{of.input.data(), of.weight.data(), of.bias.data(),
                                             background != nullptr ? of.input_ground.data() : nullptr};
        of_ground = background != nullptr ? grad_ground.data() : nullptr;
        if (plans[i].pool)
            pooled_convolution_backward<T>(plans[i].convolution, layer, *plans[i].pool, grad.data(), of_ground,
                                           rows.data(), result, threads);
        else
            convolution_backward(plans[i].convolution, layer, grad.data(), of_ground, result, threads);
        check(same(of.weight, one_call[i].weight) && same(of.bias, one_call[i].bias),
              "gradients of layers in one call");
        grad = of.input;
        grad_ground = of.input_ground;
    }
    check(same(one_by_one[0].input, one_call[0].input), "gradient of the input in one call");
    check(background == nullptr || same(one_by_one[0].input_ground, one_call[0].input_ground),
          "gradient of the background in one call");
}

}  // namespace

template <class T>
void test_chain(const Scene& s, int c_in, int c_out, bool with_background) {
    const std::array<int, 3> shape = s.geometry.out_shape;
    const Geometry back{{3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, shape, shape, s.geometry.batch, false};
    Geometry pool{{2, 1, 2}, {1, 1, 1}, {1, 0, 0}, {1, 1, 1}, shape, {}, s.geometry.batch, false};
    for (std::size_t a = 0; a < 3; ++a) {
        if (shape[a] + 2 * pool.padding[a] < pool.kernel[a]) return;
        pool.out_shape[a] = shape[a] + 2 * pool.padding[a] - pool.kernel[a] + 1;
    }
    const Geometry last{{1, 1, 1},      {1, 1, 1},      {0, 0, 0},        {1, 1, 1},
                        pool.out_shape, pool.out_shape, s.geometry.batch, false};
    const std::vector<LayerPlan> plans =
        plan_chain(s.plan.in, {{s.geometry, false, {}}, {back, true, pool}, {last, true, {}}}, 2);
    const std::size_t n = s.in.size() / 4, ci = std::size_t(c_in), co = std::size_t(c_out),
                      m = std::size_t(site_count(plans[0].out())), p = std::size_t(site_count(plans[2].out()));
    const std::vector<T> features = random_values<T>(n * ci),
                         first = random_values<T>(co * std::size_t(s.geometry.volume()) * ci),
                         second = random_values<T>(27 * co * co), third = random_values<T>(5 * co),
                         bias = random_values<T>(co), ground = random_values<T>(ci);
    const T* background = with_background ? ground.data() : nullptr;
    Convolution<T> a{features.data(), first.data(),           bias.data(), background, c_in,
                     c_out,           Activation::leaky_relu, T(0.25)};
    Convolution<T> b{nullptr, second.data(), nullptr, nullptr, c_out, c_out},
        c{nullptr, third.data(), nullptr, nullptr, c_out, 5};
    for (int threads : {1, 3}) {
        std::vector<T> got(p * 5), expected(got), got_background(5), expected_background(5), after_first(m * co),
            after_second(p * co), ground_1(co), ground_2(co);
        convolution_chain<T>(plans, {a, b, c}, features.data(), background, got.data(),
                             with_background ? got_background.data() : nullptr, threads);
        convolution(plans[0].convolution, a, after_first.data(), ground_1.data(), threads);
        b.features = after_first.data();
        b.background = with_background ? ground_1.data() : nullptr;
        pooled_convolution<T>(plans[1].convolution, b, *plans[1].pool, after_second.data(), nullptr, ground_2.data(),
                              threads);
        c.features = after_second.data();
        c.background = with_background ? ground_2.data() : nullptr;
        convolution(plans[2].convolution, c, expected.data(), expected_background.data(), threads);
        check(same(got, expected), "layers in one call");
        check(!with_background || same(got_background, expected_background), "background of layers in one call");
        test_chain_backward<T>(plans, {a, b, c}, features, background, threads);
    }
}

template void test_chain<float>(const Scene&, int, int, bool);
template void test_chain<double>(const Scene&, int, int, bool);
