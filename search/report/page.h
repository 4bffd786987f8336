// The page itself: a template, its style and its script (search/report/page/), and Chart.js, all of which lie in the
// program; only data is put in.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace stagewise {

/// `data` as the text of a <script type="application/json">: whatever its texts are, none of it is HTML, and what isn't
/// UTF-8 in it becomes U+FFFD.
std::string json_for_html(const nlohmann::ordered_json& data);

/// `text` between tags or in an attribute's quotes.
std::string escaped_html(std::string_view text);

/// The whole page. Its content security policy allows its own scripts and style, by their SHA-256, and pictures that
/// lie in it: a browser loads and runs nothing else.
std::string page_of(const std::string& title, const nlohmann::ordered_json& data);

/// A file that lies in the program (made by search/report/page/embed.cmake).
struct PageFile {
  std::string_view text, sha256;  // of the text, in hexadecimal digits
};
extern const PageFile kPageHtml, kPageCss, kPageJs, kPageChartsJs, kChartJs;

}  // namespace stagewise
