# tripline_library(NAME SOURCES a.c ... LIBS other ...): a static room of the house.
function(tripline_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(${name} PUBLIC ${A_LIBS})
endfunction()

# tripline_test_limits(NAME SECONDS DEFAULT): sanitizers slow a test down, so they stretch its limit.
function(tripline_test_limits name seconds default)
  if(NOT seconds)
    set(seconds ${default})
  endif()
  if(TRIPLINE_SANITIZE)
    math(EXPR seconds "${seconds} * 6")
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${seconds})
endfunction()

# tripline_test(NAME SOURCES a.c ... LIBS x ... LABELS unit [TIMEOUT s]): one cmocka program, one ctest entry.
function(tripline_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(test_${name} ${A_SOURCES})
  target_link_libraries(test_${name} PRIVATE ${A_LIBS} PkgConfig::CMOCKA)
  add_test(NAME ${name} COMMAND test_${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  tripline_test_limits(${name} "${A_TIMEOUT}" 120)
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" SKIP_RETURN_CODE 77)
endfunction()

# One set of real servers for all service tests of a ctest run; their variables come from with-servers.sh.
set(TRIPLINE_SERVERS_DIR ${CMAKE_BINARY_DIR}/servers)
function(tripline_servers_fixture)
  add_test(NAME servers_start COMMAND ${PROJECT_SOURCE_DIR}/scripts/servers.sh fresh ${TRIPLINE_SERVERS_DIR})
  add_test(NAME servers_stop COMMAND ${PROJECT_SOURCE_DIR}/scripts/servers.sh stop ${TRIPLINE_SERVERS_DIR})
  set_tests_properties(servers_start PROPERTIES LABELS service TIMEOUT 300 FIXTURES_SETUP servers)
  set_tests_properties(servers_stop PROPERTIES LABELS service TIMEOUT 120 FIXTURES_CLEANUP servers)
endfunction()

# tripline_with_servers(NAME COMMAND c... [LABELS service] [TIMEOUT s]): any command as a test among the servers.
function(tripline_with_servers name)
  cmake_parse_arguments(A "" "TIMEOUT" "COMMAND;LABELS" ${ARGN})
  if(NOT A_LABELS)
    set(A_LABELS service)
  endif()
  add_test(NAME ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    COMMAND ${PROJECT_SOURCE_DIR}/scripts/with-servers.sh ${TRIPLINE_SERVERS_DIR} ${A_COMMAND})
  tripline_test_limits(${name} "${A_TIMEOUT}" 300)
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" FIXTURES_REQUIRED servers SKIP_RETURN_CODE 77)
endfunction()

# tripline_service_test(NAME SOURCES a.c ... LIBS x ... [LABELS service] [TIMEOUT s]): one cmocka program
# against the real servers. It shares them with others: names of its own, please.
function(tripline_service_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(test_${name} ${A_SOURCES})
  target_link_libraries(test_${name} PRIVATE ${A_LIBS} PkgConfig::CMOCKA)
  tripline_with_servers(${name} COMMAND $<TARGET_FILE:test_${name}> LABELS "${A_LABELS}" TIMEOUT "${A_TIMEOUT}")
endfunction()

# tripline_fuzz(NAME SOURCES a.c ... LIBS x ... SEEDS folder ... [MUTATOR m.c]): with -DTRIPLINE_FUZZ=ON (clang)
# a libFuzzer program fuzz_NAME, whose folders of seeds scripts/fuzz.sh reads in seeds/NAME; in every other
# build a test that takes each seed once, so that what was found once stays found.
function(tripline_fuzz name)
  cmake_parse_arguments(A "" "MUTATOR" "SOURCES;LIBS;SEEDS" ${ARGN})
  list(TRANSFORM A_SEEDS PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ REGEX "^[^/]")
  if(TRIPLINE_FUZZ)
    add_executable(fuzz_${name} ${A_SOURCES} ${A_MUTATOR})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    list(JOIN A_SEEDS "\n" seeds)
    file(WRITE ${CMAKE_BINARY_DIR}/seeds/${name} "${seeds}\n")
  else()
    add_executable(fuzz_${name} ${A_SOURCES} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.c)
    add_test(NAME fuzz_${name} COMMAND fuzz_${name} ${A_SEEDS})
    tripline_test_limits(fuzz_${name} "" 60)
    set_tests_properties(fuzz_${name} PROPERTIES LABELS fuzz)
  endif()
  target_link_libraries(fuzz_${name} PRIVATE ${A_LIBS})
endfunction()
