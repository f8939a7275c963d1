// The Python module napari_sparse3d._kernels: the face of sparse3d.h.
#include "binding.h"

NB_MODULE(_kernels, m) {
    using namespace sparse3d;
    nb::set_leak_warnings(false);  // engines live until the interpreter ends
    m.doc() = "Sparse 3D kernels for the CPU (C++); see kernels/include/sparse3d/sparse3d.h.";
    binding::bind_sites(m);
    binding::bind_operators(m);
    binding::bind_networks(m);
    binding::bind_voxels(m);
    m.def("instruction_set", &instruction_set, "The one in use; ValueError if NAPARI_SPARSE3D_ISA asks for another.");
    m.def("multiplies_bfloat16", &multiplies_bfloat16, "Whether it has an instruction for products of bfloat16.");
    m.def("trim", &trim, "Give back the scratch memory that is kept between calls.");
    m.def("scratch_bytes", &scratch_bytes, "How much is kept.");
}
