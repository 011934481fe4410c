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
