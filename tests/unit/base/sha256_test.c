#include "platform/base/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#define MILLION_A "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

/* FIPS 180-4's examples and NIST's short vectors. */
static void known_digests(void **state)
{
    static const struct {
        const char *text, *hex;
    } vectors[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char hex[SHA256_HEX];
    size_t i;

    for (i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        sha256_of(vectors[i].text, strlen(vectors[i].text), hex);
        assert_string_equal(hex, vectors[i].hex);
    }
    sha256_of(NULL, 0, hex);
    assert_string_equal(hex, vectors[0].hex);
}

static void pieces_make_the_whole(void **state)
{
    unsigned char digest[SHA256_SIZE];
    char hex[SHA256_HEX], piece[997];
    struct sha256 *s = sha256_new();
    size_t left;
    int round;

    assert_non_null(s);
    memset(piece, 'a', sizeof piece);
    for (round = 0; round < 2; round++) { /* sha256_end leaves it ready for the next */
        for (left = 1000000; left > 0; left -= left < sizeof piece ? left : sizeof piece)
            sha256_add(s, piece, left < sizeof piece ? left : sizeof piece);
        sha256_end(s, digest);
        sha256_hex(digest, hex);
        assert_string_equal(hex, MILLION_A);
    }
    sha256_free(s);
    sha256_free(NULL);
}

static void a_file_has_a_hash_and_a_size(void **state)
{
    char path[] = "/tmp/sha256_test.XXXXXX", hex[SHA256_HEX], block[1000];
    unsigned long long size = 0;
    struct err e = ERR_INIT;
    int fd = mkstemp(path), i;

    assert_true(fd >= 0);
    memset(block, 'a', sizeof block);
    for (i = 0; i < 1000; i++)
        assert_int_equal(write(fd, block, sizeof block), sizeof block);
    close(fd);
    assert_int_equal(sha256_file(path, hex, &size, &e), 0);
    assert_string_equal(hex, MILLION_A);
    assert_int_equal(size, 1000000);
    assert_int_equal(sha256_file(path, hex, NULL, &e), 0);
    unlink(path);
    assert_int_equal(sha256_file(path, hex, &size, &e), ERR_IO);
    assert_non_null(strstr(e.text, path));
}

/* RFC 4231, test cases 1, 2 and 6 (a key longer than a block). */
static void hmac_of_rfc_4231(void **state)
{
    unsigned char key[131], mac[SHA256_SIZE];
    char hex[SHA256_HEX];
    const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";

    memset(key, 0x0b, 20);
    hmac_sha256(key, 20, "Hi There", 8, mac);
    sha256_hex(mac, hex);
    assert_string_equal(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
    sha256_hex(mac, hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    hmac_sha256(key, sizeof key, text, strlen(text), mac);
    sha256_hex(mac, hex);
    assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_digests),
        cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(a_file_has_a_hash_and_a_size),
        cmocka_unit_test(hmac_of_rfc_4231),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
