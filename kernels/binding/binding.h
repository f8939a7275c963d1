// What the parts of the Python module share. Arrays come as addresses, 0 for one that is absent; whoever calls has
// checked dtype, shape and contiguity against the plan (_ready in engine/native.py, through which all pass), and keeps
// them alive. Every argument has its name, and the GIL is released while kernels run.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <vector>

#include "sparse3d/sparse3d.h"

namespace nb = nanobind;

namespace sparse3d::binding {

using namespace nb::literals;
using Address = std::uintptr_t;
using Release = nb::call_guard<nb::gil_scoped_release>;

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

struct Index {
    Sites sites;
};

struct Chain {
    std::vector<LayerPlan> plans;
};

void bind_sites(nb::module_& m);      // geometries, site sets, plans
void bind_operators(nb::module_& m);  // what runs through a plan
void bind_networks(nb::module_& m);   // whole networks
void bind_voxels(nb::module_& m);     // volumes to voxels

}  // namespace sparse3d::binding
