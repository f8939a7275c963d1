// The tests by operator, each in a file of its name.
#pragma once

#include "harness.h"

void test_neighbours(const Scene& s);
void test_refusals();
void test_fingerprint();

template <class T>
void test_convolution(const Scene& s, int c_in, int c_out, bool with_bias, bool with_background);
void test_bfloat16(const Scene& s, int c_in, int c_out, bool with_background);
void test_rounding_to_bfloat16();
void test_out_of_proportion();
template <class T>
void test_pools(const Scene& s, int channels, bool with_background);
template <class T>
void test_pooled_convolution(const Scene& s, int c_in, int c_out, bool with_background);
template <class T>
void test_chain(const Scene& s, int c_in, int c_out, bool with_background);
template <class T>
void test_network(const Scene& s, int c_in, int c_out, bool with_background);
void test_network_refusals();
template <class T>
void test_batch_norms();
template <class T>
void test_voxels();
void test_result_blocks();

// All operators of one scene after the other.
void test_networks_layers();
void test_random_scenes(int rounds);
