from morphogen.core.printable import one_line, printable


def test_what_could_steer_a_terminal_is_shown_as_its_escape() -> None:
    assert printable("a\x1b]0;owned\x07b\x9b") == r"a\x1b]0;owned\x07b\x9b"
    assert printable("abc\u202etxt.exe\u2066") == r"abc\u202etxt.exe\u2066"
    assert printable("caf\udce9 \ud800") == r"caf\xe9 \ud800"
    assert printable("a\rb\x7f") == r"a\x0db\x7f"


def test_all_else_stays() -> None:
    text = "rödé 猫\n\tعربي 🙂 ‍"
    assert printable(text) == text
    assert one_line("a\nb\tc") == r"a\nb\tc"


def test_every_result_can_be_encoded() -> None:
    everything = "".join(map(chr, range(0x3000))) + "".join(map(chr, range(0xD800, 0xE000)))
    printable(everything).encode()
