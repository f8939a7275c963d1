// Site sets: neighbours, what is refused, and the number for their content.
#include <stdexcept>
#include "tests.h"

void test_neighbours(const Scene& s) {
    const std::size_t m = s.out.size() / 4;
    std::vector<std::int32_t> table(std::size_t(s.geometry.volume()) * m, -7), expected(table.size(), -1);
    write_neighbours(s.plan, table.data(), 2);
    for (const auto& of : s.meetings)
        for (const auto& meeting : of)
            expected[std::size_t(meeting.offset) * m + std::size_t(meeting.out)] = meeting.in;
    check(table == expected, "neighbours");
}

// A batch size of zero, no sites, and every mistake a caller can make.
void test_refusals() {
    scene = "refusals";
    const auto refuses = [](const Sites4& sites, const char* expected) {
        try {
            index_sites(sites.data(), std::int64_t(sites.size() / 4), 2, {4, 5, 6}, 2);
        } catch (const std::invalid_argument& error) {
            return std::string(error.what()).find(expected) != std::string::npos;
        }
        return false;
    };
    check(refuses({0, 0, 0, 6}, "outside"), "x beyond the grid");
    check(refuses({0, -1, 0, 0}, "outside"), "z below the grid");
    check(refuses({2, 0, 0, 0}, "outside"), "beyond the batch");
    check(refuses({0, 1, 2, 3, 1, 1, 2, 3, 0, 1, 2, 3}, "twice"), "a duplicate");
    check(site_count(index_sites(nullptr, 0, 0, {4, 5, 6}, 2)) == 0, "an empty batch");
}

void test_fingerprint() {
    scene = "fingerprint";
    for (const std::int64_t n : {0, 1, 7, 8, 9, 16, 63, 1000}) {
        Sites4 sites(std::size_t(n) * 4);
        for (std::int32_t& each : sites) each = between(-5, 1000);
        const std::uint64_t first = fingerprint(sites.data(), n);
        check(fingerprint(Sites4(sites).data(), n) == first, "equal where all is equal");
        for (std::size_t i = 0; i < sites.size(); ++i) {
            Sites4 other = sites;
            other[i] ^= 1 << between(0, 31);
            check(fingerprint(other.data(), n) != first, "one bit");
            other = sites;
            std::swap(other[i], other[std::size_t(between(0, int(sites.size()) - 1))]);
            check(other == sites || fingerprint(other.data(), n) != first, "two that changed places");
        }
        if (n > 0) check(fingerprint(sites.data(), n - 1) != first, "a row less");
    }
}
