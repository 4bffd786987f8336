#include "search/report/page.h"

#include <map>

#include "search/report/picture_file.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

/// As a content security policy names a script: the digest's bytes in base 64.
std::string csp_hash(const PageFile& file) {
  std::string digest;
  for (std::size_t i = 0; i + 1 < file.sha256.size(); i += 2) {
    digest += static_cast<char>(std::stoi(std::string(file.sha256.substr(i, 2)), nullptr, 16));
  }
  return "'sha256-" + base64(digest) + "'";
}

/// The template with each `@NAME@` replaced; what is put in is not looked at again.
std::string filled(std::string_view text, const std::map<std::string_view, std::string>& values) {
  std::string page;
  while (true) {
    const std::size_t begin = text.find('@');
    if (begin == std::string_view::npos) return page.append(text);
    const std::size_t end = text.find('@', begin + 1);
    require(end != std::string_view::npos, "report.html: a lone @");
    const auto value = values.find(text.substr(begin + 1, end - begin - 1));
    require(value != values.end(), "report.html: nothing to put in for ", text.substr(begin, end - begin + 1));
    page.append(text.substr(0, begin)).append(value->second);
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::string json_for_html(const nlohmann::ordered_json& data) {
  std::string text;
  for (const char c : data.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)) {
    // All of JSON outside its strings does without these three, and within strings a \u stands for any letter.
    if (c == '<' || c == '>' || c == '&') {
      text += c == '<' ? "\\u003c" : c == '>' ? "\\u003e" : "\\u0026";
    } else {
      text += c;
    }
  }
  return text;
}

std::string escaped_html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string page_of(const std::string& title, const nlohmann::ordered_json& data) {
  const std::string policy = "default-src 'none'; img-src data:; style-src " + csp_hash(kPageCss) + "; script-src " +
                             csp_hash(kChartJs) + " " + csp_hash(kPageChartsJs) + " " + csp_hash(kPageJs);
  return filled(kPageHtml.text, {{"TITLE", escaped_html(title)},
                                 {"POLICY", policy},
                                 {"STYLE", std::string(kPageCss.text)},
                                 {"CHART_JS", std::string(kChartJs.text)},
                                 {"CHARTS", std::string(kPageChartsJs.text)},
                                 {"SCRIPT", std::string(kPageJs.text)},
                                 {"DATA", json_for_html(data)}});
}

}  // namespace stagewise
