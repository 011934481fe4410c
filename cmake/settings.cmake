# Every target is compiled like this; nothing else sets flags globally.
add_compile_definitions(_GNU_SOURCE TRIPLINE_VERSION="${PROJECT_VERSION}")
add_compile_options(-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wpointer-arith -Wvla -Wno-unused-parameter -fno-common -ffp-contract=off)
include_directories(${PROJECT_SOURCE_DIR})   # includes are spelled from the root: "platform/base/err.h"
find_package(Threads REQUIRED)

if(TRIPLINE_SANITIZE STREQUAL "asan")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(TRIPLINE_SANITIZE STREQUAL "tsan")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(TRIPLINE_SANITIZE)
  message(FATAL_ERROR "TRIPLINE_SANITIZE is '${TRIPLINE_SANITIZE}': use asan or tsan")
endif()
if(TRIPLINE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
