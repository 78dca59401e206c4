#include "standard_program.h"
#undef RUN
#include <algorithm>
#include <chrono>
#include <iomanip>
#include <iostream>
#include <locale>
#include <map>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

static void formatting() {
    std::ostringstream line;
    line << 42 << ' ' << std::hex << std::showbase << 255 << ' ' << std::dec << -7L << ' ' << 3.14159 << ' ' << std::setprecision(12)
         << 2.0 / 3 << ' ' << std::fixed << 1e6 << ' ' << std::scientific << 12345.678 << ' ' << std::setw(10) << std::setfill('*') << "pad" << ' '
         << std::boolalpha << true << ' ' << 'c' << ' ' << 2.5L << ' ' << std::put_time(std::gmtime(&(const time_t &)(time_t)1700000000), "%F %T");
    text(line.str().c_str());
    std::istringstream in("17 0x1f 2.75 word true 9999999999 1e400");
    int i; long h; double d; std::string w; bool b; int big; double huge;
    in >> i >> std::hex >> h >> std::dec >> d >> w >> std::boolalpha >> b;
    number(i), number(h), real(d), text(w.c_str()), number(b);
    in >> big, number(big), number(in.fail()), in.clear(), in >> huge, real(huge), number(in.fail());
    text(std::to_string(3.5).c_str()), number(std::stol("-99")), real(std::stod("0x1p-3"));
}
static void containers() {
    std::map<std::string, int> words;
    std::istringstream in("the cat the dog a cat the end");
    for (std::string w; in >> w;) words[w]++;
    for (auto &[word, count] : words) text(word.c_str()), number(count);
    std::vector<int> v(1000);
    std::mt19937 engine(7);
    for (auto &x : v) x = engine() % 10000;
    std::sort(v.begin(), v.end());
    number(v.front()), number(v[500]), number(v.back());
    std::unordered_map<std::string, int> hashed{{"x", 1}, {"y", 2}};
    number(hashed.at("y"));
}
struct Guard { const char *name; ~Guard() { text(name); } };
static void thrower(int n) {
    Guard guard{"unwound"};
    if (n) thrower(n - 1);
    else throw std::out_of_range("too far");
}
static void exceptions() {
    try { thrower(3); } catch (const std::exception &e) { text(e.what()); }
    try { std::vector<int>().at(5); } catch (const std::out_of_range &e) { text(e.what()); }
    try { std::stoi("none"); } catch (const std::invalid_argument &e) { text(e.what()); }
    try { throw 5; } catch (int n) { number(n); }
    try { try { throw std::runtime_error("inner"); } catch (...) { std::throw_with_nested(std::logic_error("outer")); } }
    catch (const std::exception &e) { text(e.what()); try { std::rethrow_if_nested(e); } catch (const std::exception &i) { text(i.what()); } }
    std::vector<int> v{3, 1, 2};
    try { qsort(v.data(), 3, 4, [](const void *, const void *) -> int { throw std::runtime_error("from qsort"); }); } catch (const std::runtime_error &e) { text(e.what()); }
}
static void locales() {
    text(std::locale().name().c_str()), text(std::locale::classic().name().c_str());
    try { text(std::locale("C.UTF-8").name().c_str()); } catch (const std::exception &e) { text(e.what()); }
    try { std::locale("xx_YY"); } catch (const std::exception &e) { text(e.what()); }
    auto &types = std::use_facet<std::ctype<char>>(std::locale());
    number(types.is(std::ctype_base::digit, '5')), number(types.toupper('q'));
    std::wostringstream wide;
    wide << L"wide " << 12 << L' ' << 1.5;
    number(wide.str().size()), bytes(wide.str().data(), 40);
    std::smatch match;
    std::string line = "key = value42";
    if (std::regex_match(line, match, std::regex("(\\w+)\\s*=\\s*([a-z]+)(\\d+)"))) for (auto &m : match) text(m.str().c_str());
}

static void (*const programs[])(void) = {formatting, containers, exceptions, locales};
extern "C" long run(int program, char *into) {
    out = into;
    programs[program]();
    return out - into;
}
/*
RUN(formatting, containers, exceptions, locales)
*/
