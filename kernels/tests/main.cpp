// Every operator against naive loops in double; bit-identity over thread counts. main [random scenes]
#include <cstdlib>
#include <stdexcept>

#include "tests.h"

int failures = 0;
std::string scene;
std::mt19937 random_bits(7);

int main(int argc, char** argv) {
    try {
        std::printf("instruction set %s\n", instruction_set());
    } catch (const std::invalid_argument& error) {
        std::printf("%s\n", error.what());
        return 77;
    }
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 150;
    test_refusals();
    test_fingerprint();
    test_out_of_proportion();
    test_rounding_to_bfloat16();
    test_networks_layers();
    test_network_refusals();
    test_voxels<std::uint8_t>();
    test_voxels<std::int16_t>();
    test_voxels<std::uint16_t>();
    test_voxels<float>();
    test_result_blocks();
    test_batch_norms<float>();
    test_batch_norms<double>();
    test_random_scenes(rounds);
    trim();
    check(scratch_bytes() == 0, "scratch memory is given back");
    std::printf(failures ? "%d checks failed\n" : "all checks passed\n", failures);
    return failures ? 1 : 0;
}
