// The network as text: a bar a stage, or what each node computes.
#pragma once

#include <string>
#include <vector>

#include "layers/graph.h"

namespace stagewise {

/// A line a stage: width and resolution, a bar as long as the stage is deep, and `notes[stage]` behind it where there
/// are notes. The last `grown[stage]` blocks are drawn as new.
std::string draw_network(const Architecture& architecture, const std::vector<std::string>& notes = {},
                         const std::vector<std::int64_t>& grown = {});

/// The size of a stage's maps: `16x16`.
std::string map_size(const Architecture& architecture, std::size_t stage);

/// What a node computes: `3x3 conv 16 to 32, stride 2, batch norm; ...`.
std::string node_text(const Node& node);

/// `score 0.9131`, a stage each.
std::vector<std::string> score_notes(const std::vector<double>& scores);

}  // namespace stagewise
