// Which primitives a backend lacks (tensor/composed_backend.h), found by calling every one.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/primitive_cases.h"

namespace stagewise {

/// Of each row of the table of primitives the shortest case.
inline std::vector<primitive_cases::PrimitiveCase> shortest_cases() {
  std::map<std::string, primitive_cases::PrimitiveCase> shortest;
  for (primitive_cases::PrimitiveCase& primitive : primitive_cases::test_cases()) {
    const std::string name = primitive.name.substr(0, primitive.name.find('/'));
    const auto [found, first] = shortest.try_emplace(name, primitive);
    if (!first && primitive.flops < found->second.flops) found->second = primitive;
  }
  std::vector<primitive_cases::PrimitiveCase> cases;
  cases.reserve(shortest.size());
  for (auto& [name, primitive] : shortest) cases.push_back(primitive);
  return cases;
}

/// The names in the errors that a backend answers with. Any other error is the caller's to see.
inline std::set<std::string> lacking(Backend& backend) {
  const std::string words = concat("[backend] `", backend.name(), "` lacks ");
  std::set<std::string> names;
  for (const primitive_cases::PrimitiveCase& primitive : shortest_cases()) {
    try {
      primitive.make(backend, DType::float32).run();
    } catch (const Error& error) {
      const std::string text = error.what();
      if (text.rfind(words, 0) != 0) throw;
      names.insert(text.substr(words.size()));
    }
  }
  return names;
}

}  // namespace stagewise
