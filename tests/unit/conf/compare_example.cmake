# PROGRAM --print-example-config must print exactly the file EXAMPLE.
execute_process(COMMAND ${PROGRAM} --print-example-config
  OUTPUT_VARIABLE printed RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} --print-example-config ended with ${status}")
endif()
set(kept "")
if(EXISTS ${EXAMPLE})
  file(READ ${EXAMPLE} kept)
endif()
if(NOT printed STREQUAL kept)
  message(FATAL_ERROR "${EXAMPLE} is not what ${PROGRAM} prints: build the target config-examples")
endif()
