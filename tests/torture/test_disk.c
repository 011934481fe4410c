/* A fine-tuning on a disk that is full at any moment: while a checkpoint is written, any file of
 * the artifact, its folders. One line says so, nothing half-written is left, and with room again
 * the same command goes on to the same bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/torture/disk.h"
#include "tests/torture/fitting.h"

static const struct torture_supply disk = {"disk operation", ERR_IO, disk_arm, disk_disarm};

static void test_fit(void **state)
{
    torture(&(struct torture){.name = "fit",
                              .work = fitting_work,
                              .after = fitting_after,
                              .arg = *state,
                              .supply = &disk,
                              .tries = 500});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fit, fitting_setup, fitting_teardown),
    };

    return cmocka_run_group_tests_name("torture_disk", tests, NULL, NULL);
}
