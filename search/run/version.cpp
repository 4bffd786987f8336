#include "search/run/version.h"

#include <commit.h>  // written by version.cmake at every build

namespace stagewise {

std::string program_version() {
  const std::string commit = STAGEWISE_COMMIT;
  return "stagewise " STAGEWISE_VERSION + (commit.empty() ? "" : " (commit " + commit + ")");
}

}  // namespace stagewise
