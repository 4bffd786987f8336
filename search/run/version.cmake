# Writes OUTPUT, a header with the version and the commit of SOURCE, unless it says the same already.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --exclude=* --abbrev=12
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define STAGEWISE_VERSION \"${VERSION}\"\n#define STAGEWISE_COMMIT \"${commit}\"\n")
