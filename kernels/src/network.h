// The weights of a network, copied, and how large what they make can get.
#pragma once

#include <memory>
#include <vector>

#include "kept_weights.h"
#include "sparse3d/sparse3d.h"

namespace sparse3d {

template <class T>
class FrozenNetwork {
public:
    FrozenNetwork(const std::vector<Step>& steps, const std::vector<StepWeights<T>>& weights);

    struct Frozen {
        Step::Kind kind;
        StepWeights<T> weights;
        int volume;   // of a convolution's kernel
        double gain;  // an output's magnitude is at most gain * that of the inputs + offset
        double offset;
        std::unique_ptr<KeptWeights<T>> kept;  // of a convolution
    };
    const std::vector<Frozen>& steps() const { return steps_; }

private:
    std::vector<T> memory_;
    std::vector<Frozen> steps_;
};

}  // namespace sparse3d
