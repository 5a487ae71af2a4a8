//! Code page 437, as a PC's text mode shows it.

const CONTROLS: &str = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
const UPPER: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
                     αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";

/// Returns the character that a code shows; codes that show nothing are spaces.
pub fn cp437(code: u8) -> char {
    let from = |table: &str, index: u8| table.chars().nth(index.into()).unwrap_or(' ');
    match code {
        0..32 => from(CONTROLS, code),
        0x7f => '⌂',
        0x80.. => from(UPPER, code - 0x80),
        _ => char::from(code),
    }
}
