// A compiler in C++: it writes a problem file, has it planned, and reads where tensors lie.
//
//     g++ -std=c++17 own_compiler.cpp -o own_compiler && ./own_compiler DIR [ULLAGE]
//
// A real compiler would use its JSON library; this one looks for the few fields that it needs.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

struct Tensor { std::string name; long bytes; std::string kind; };
struct Op { std::string name; std::vector<std::string> reads, writes; long macs, elements; };

static std::string quoted(const std::string &text) { return '"' + text + '"'; }

static std::string list(const std::vector<std::string> &names) {
    std::string out;
    for (const auto &name : names) out += (out.empty() ? "" : ",") + quoted(name);
    return "[" + out + "]";
}

static void write_problem(const std::string &path, const std::vector<Tensor> &tensors,
                          const std::vector<Op> &ops) {
    std::ofstream out(path);
    out << R"({"format": "ullage-problem", "format_version": 1, "name": "mine",)" << '\n'
        << R"( "target": "edge-npu", "fast_memory_bytes": 65536, "tensors": [)";
    const char *comma = "";
    for (const auto &t : tensors) {
        out << comma << "\n  {\"name\": " << quoted(t.name) << ", \"size_bytes\": " << t.bytes
            << ", \"kind\": " << quoted(t.kind) << "}";
        comma = ",";
    }
    out << "],\n \"operators\": [";
    comma = "";
    for (const auto &op : ops) {
        out << comma << "\n  {\"name\": " << quoted(op.name) << ", \"reads\": " << list(op.reads)
            << ", \"writes\": " << list(op.writes) << ", \"macs\": " << op.macs
            << ", \"vector_elements\": " << op.elements << "}";
        comma = ",";
    }
    out << "]}\n";
}

// Each object of an array of flat objects, as text: {...}{...}
static std::vector<std::string> objects(const std::string &document, const std::string &field) {
    std::vector<std::string> found;
    size_t at = document.find(quoted(field) + ":[");
    if (at == std::string::npos) return found;
    for (size_t end = document.find(']', at); (at = document.find('{', at)) < end; ++at)
        found.push_back(document.substr(at, document.find('}', at) - at));
    return found;
}

static std::string value(const std::string &object, const std::string &field) {
    size_t at = object.find(quoted(field) + ":") + field.size() + 3;
    if (object[at] == '"') return object.substr(at + 1, object.find('"', at + 1) - at - 1);
    return object.substr(at, object.find(',', at) - at);
}

int main(int argc, char **argv) {
    const std::string dir = argc > 1 ? argv[1] : ".", ullage = argc > 2 ? argv[2] : "ullage";
    write_problem(dir + "/problem.json",
                  {{"image", 48000, "input"}, {"filters", 4608, "weight"},
                   {"features", 32000, "activation"}, {"classes", 100, "output"}},
                  {{"conv", {"image", "filters"}, {"features"}, 36000000, 0},
                   {"pool", {"features"}, {"classes"}, 0, 32000}});
    const std::string command = ullage + " compile " + dir + "/problem.json -q --emit solution -o " + dir;
    if (std::system(command.c_str()) != 0) return 1;

    std::ifstream file(dir + "/solution.json");
    std::stringstream text;
    text << file.rdbuf();
    const auto tensors = objects(text.str(), "tensors");
    for (const auto &r : objects(text.str(), "residencies"))
        for (const auto &t : tensors)
            if (value(t, "buffer") == value(r, "buffer"))
                std::printf("%-10s %-5s at %7s during steps [%s, %s)\n", value(t, "name").c_str(),
                            value(r, "tier").c_str(), value(r, "offset").c_str(),
                            value(r, "start").c_str(), value(r, "end").c_str());
    return 0;
}
