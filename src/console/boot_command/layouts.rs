//! Keyboard layouts as tables, from what xkeyboard-config says of them.

/// A layout.
///
/// Rows run from top to bottom, keys from left to right. The characters of a key stand together: alone, with shift, with AltGr.
/// A letter that stands alone has its capital with shift. `∅` stands for none, and `†` goes before a dead key's character: it appears
/// after a space, or combines with the letter behind it. The fourth row begins with the key that US keyboards lack, between shift
/// and Z; the keys that only Japanese and Brazilian keyboards have end the first and fourth rows.
pub struct Table {
    pub name: &'static str,
    pub rows: [&'static str; 4],
}

/// Every layout; the first is the default.
pub const TABLES: &[Table] = &[
    Table {
        name: "us",
        rows: [
            "`~ 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( 0) -_ =+",
            r#"q w e r t y u i o p [{ ]} \|"#,
            r#"a s d f g h j k l ;: '""#,
            "∅ z x c v b n m ,< .> /?",
        ],
    },
    Table {
        name: "us-intl",
        rows: [
            "†`†~ 1!¡ 2@² 3#³ 4$ 5%€ 6†^¼ 7&½ 8*¾ 9( 0) -_¥ =+×",
            r#"qQä wWå eEé r tTþ yYü uUú iIí oOó pPö [{« ]}» \|¬"#,
            "aAá sSß dDð f g h j k lLø ;:¶ †'†\"",
            "∅ zZæ x c v b nNñ mMµ ,<ç .>†˙ /?¿",
        ],
    },
    Table {
        name: "uk",
        rows: [
            r#"`¬ 1!¹ 2"² 3£³ 4$€ 5%½ 6^¾ 7& 8* 9( 0) -_ =+†¸"#,
            "q w e rR¶ t y u i oOø pPþ [{†¨ ]} #~",
            "aAæ sSß dDð fFđ g h j k lLł ;:†´ '@",
            r#"\| zZ« xX» cC¢ v b n mMµ ,< .>· /?"#,
        ],
    },
    Table {
        name: "ie",
        rows: [
            r#"`¬¦ 1!¡ 2" 3£ 4$€ 5%§ 6^ 7&¶ 8*†¨ 9(ª 0)º -_ =+"#,
            "q wW†˙ eEé r tTþ yY¥ uUú iIí oOó p [{ ]} #~«",
            "aAá sSß dDð f g h jJı kK†° lL´ ;: '@æ",
            r#"\| z xX× cC†¸ vV†ˇ bB¨ n m ,< .> /?÷"#,
        ],
    },
    Table {
        name: "de",
        rows: [
            r#"†^° 1!¹ 2"² 3§³ 4$¼ 5%½ 6&¬ 7/{ 8([ 9)] 0=} ß?\ †´†`†¸"#,
            "qQ@ w eE€ rR¶ t z u i oOø pPþ üÜ†¨ +*~ #'",
            "aAæ s dDð fFđ g h j k lLł öÖ†˝ ä",
            "<>| yY» xX« cC¢ v b n mMµ ,;· .: -_",
        ],
    },
    Table {
        name: "ch",
        rows: [
            r#"§°¬ 1+| 2"@ 3*# 4ç¼ 5%½ 6& 7/ 8(¢ 9)] 0=} '?†´ †^†`†~"#,
            "q w eE€ rR¶ t z u i o pPþ üè[ †¨! $£",
            "aAæ sSß dDð fFđ g h j k lLł öé äà{",
            r#"<>\ yY« xX» c v b n mMµ ,; .:· -_"#,
        ],
    },
    Table {
        name: "ch-fr",
        rows: [
            r#"§°¬ 1+| 2"@ 3*# 4ç¼ 5%½ 6& 7/ 8(¢ 9)] 0=} '?†´ †^†`†~"#,
            "q w eE€ rR¶ t z u i o pPþ èü[ †¨! $£",
            "aAæ sSß dDð fFđ g h j k lLł éö àä{",
            r#"<>\ yY« xX» c v b n mMµ ,; .:· -_"#,
        ],
    },
    Table {
        name: "fr",
        rows: [
            r#"²~¬ &1¹ é2 "3# '4{ (5[ -6| è7` _8\ ç9^ à0@ )°] =+}"#,
            "aAæ zZ« eE€ rR¶ t y u i oOø pPþ †^†¨ $£ *µ",
            "q sSß dDð fFđ g h j k lLł m ù%",
            "<> w xX» cC¢ v b n ,?†´ ;. :/· !§",
        ],
    },
    Table {
        name: "be",
        rows: [
            r#"²³¬ &1| é2@ "3# '4¼ (5½ §6^ è7{ !8[ ç9 à0} )°\ -_†¸"#,
            "a z eE€ rR¶ t y u i o pPþ †^†¨ $*] µ£†`",
            "qQæ sSß dDð fFđ g h j k lLł mM†´ ù%",
            "<> wW« xX» cC¢ v b n ,? ;. :/· =+†~",
        ],
    },
    Table {
        name: "ca",
        rows: [
            r#"#|\ 1!± 2"@ 3/£ 4$¢ 5% 6?¬ 7&¦ 8*² 9(³ 0)¼ -_½ =+¾"#,
            "q w e r t y u i oO§ pP¶ †^†^[ †¸†¨] <>}",
            "a s d f g h j k l ;:~ †`†`{",
            "«»° z x c v b n mMµ ,' .. éÉ†´",
        ],
    },
    Table {
        name: "es",
        rows: [
            r#"ºª\ 1!| 2"@ 3·# 4$~ 5%½ 6&¬ 7/{ 8([ 9)] 0=} '? ¡¿†¸"#,
            "q w eE€ rR¶ t y u i oOø pPþ †`†^ +* ç",
            "aAæ sSß dDð fFđ g h j k lLł ñ †´†¨",
            "<> zZ« xX» cC¢ v b n mMµ ,; .: -_",
        ],
    },
    Table {
        name: "latam",
        rows: [
            r#"|°¬ 1! 2"@ 3#· 4$~ 5%½ 6& 7/ 8( 9) 0= '?\ ¿¡†¸"#,
            "q w eE€ rR¶ t y u i oOø pPþ †´†¨ +* }]†`",
            "aAæ sSß dDð fFđ g h j k lLł ñ {[†^",
            "<> zZ« xX» cC¢ v b n mMµ ,; .: -_",
        ],
    },
    Table {
        name: "pt",
        rows: [
            r#"\|¬ 1!¹ 2"@ 3#£ 4$§ 5%½ 6& 7/{ 8([ 9)] 0=} '? «»†¸"#,
            "q w eE€ rR¶ t y u i oOø pPþ +*†¨ †´†` †~†^",
            "aAæ sSß dDð fFđ g h j k lLł ç ºª",
            "<> z x cC¢ v b n mMµ ,; .:· -_",
        ],
    },
    Table {
        name: "br",
        rows: [
            r#"'"¬ 1!¹ 2@² 3#³ 4$£ 5%¢ 6†¨ 7& 8* 9( 0) -_ =+§"#,
            "q w eE° r t y u i oOø pPþ †´†`´ [{ª ]}º",
            "aAæ sSß dDð fFđ g h j k lLł ç †~†^~",
            r#"\|†ˇ zZ« xX» c v b n mMµ ,< .>· ;: /?"#,
        ],
    },
    Table {
        name: "it",
        rows: [
            r#"\|¬ 1!¹ 2"² 3£³ 4$¼ 5%½ 6& 7/{ 8([ 9)] 0=} '?` ì^~"#,
            "qQ@ w eE€ rR¶ t y u i oOø pPþ èé +* ù§",
            "aAæ sSß dDð fFđ g h j k lLł òç à°#",
            "<>« z xX» cC¢ v b nNñ mMµ ,;†´ .:· -_†¯",
        ],
    },
    Table {
        name: "se",
        rows: [
            r#"§½¶ 1!¡ 2"@ 3#£ 4¤$ 5%€ 6&¥ 7/{ 8([ 9)] 0=} +?\ †´†`±"#,
            "q w e r tTþ y u i o p å †¨†^†~ '*´",
            "aAª sSß dDð fFđ g h j k lLł öÖø äÄæ",
            "<>| zZ« xX» c v b n mMµ ,;†¸ .:· -_",
        ],
    },
    Table {
        name: "fi",
        rows: [
            r#"§½ 1! 2"@ 3#£ 4¤$ 5% 6& 7/{ 8([ 9)] 0=} +?\ †´†`†¸"#,
            "q w eE€ r tTþ y u iIı o p åÅ†˝ †¨†^†~ '*†ˇ",
            "a sSß dDð f g h j k l öÖø äÄæ",
            "<>| z xX× c v b n mMµ ,; .: -_",
        ],
    },
    Table {
        name: "no",
        rows: [
            r#"|§¦ 1!¡ 2"@ 3#£ 4¤$ 5%½ 6&¥ 7/{ 8([ 9)] 0=} +?± \†`†´"#,
            "q w eE€ r tTþ y u i o p å †¨†^†~ '*†˝",
            "aAª sSß dDð fFđ g h j k lLł ø æ",
            "<> zZ« xX» c v b n mMµ ,;†¸ .: -_",
        ],
    },
    Table {
        name: "dk",
        rows: [
            r#"½§¾ 1!¡ 2"@ 3#£ 4¤$ 5% 6&¥ 7/{ 8([ 9)] 0=} +?± †´†`|"#,
            "q w eE€ r tTþ y u i o p å †¨†^†~ '*†˝",
            "aAª sSß dDð fFđ g h j k lLł æ ø",
            r#"<>\ zZ« xX» c v b n mMµ ,;†¸ .:· -_"#,
        ],
    },
    Table {
        name: "is",
        rows: [
            r#"†°†¨¬ 1!¹ 2"² 3#³ 4$¼ 5%½ 6& 7/{ 8([ 9)] 0=} öÖ\ -_†¸"#,
            "qQ@ w eE€ rR¶ t y u i oOø pP| ð '?~ +*`",
            "a sSß d fFđ g h j k lLł æÆ^ †´†´",
            "<> zZ« xX» cC¢ v b n mMµ ,; .:· þ",
        ],
    },
    Table {
        name: "pl",
        rows: [
            "`~¬ 1! 2@² 3#³ 4$¢ 5%€ 6^½ 7&§ 8*· 9(« 0)» -_ =+†¸",
            r#"q w eEę r tTß y u i oOó pPþ [{†¨ ]} \|"#,
            r#"aAą sSś dDð fFæ g h j k lLł ;:†´ '""#,
            "∅ zZż xXź cCć v b nNń mMµ ,< .> /?",
        ],
    },
    Table {
        name: "cz",
        rows: [
            ";†°` +1 ě2@ š3# č4$ ř5 ž6^ ý7& á8* í9{ é0} =% †´†ˇ†¯",
            "q w eE€ rR¶ t z u i oOø pPþ ú/[ )(] †¨'",
            r#"aA~ sSđ dDĐ f g h j kKł lLŁ ů" §!"#,
            r#"\| yY° x c v b n m ,?< .:> -_"#,
        ],
    },
    Table {
        name: "sk",
        rows: [
            ";†°` +1 ľ2@ š3# č4$ ť5 ž6^ ý7& á8* í9{ é0} =% †´†ˇ†¯",
            "q w eE€ rR¶ t z u i oOø pPþ ú/[ ä(] ň)",
            r#"aA~ sSđ dDĐ f g h jJ' kKł lLŁ ô" §!"#,
            r#"\| yY° x c v b n m ,?< .:> -_"#,
        ],
    },
    Table {
        name: "hu",
        rows: [
            r#"0§¬ 1'~ 2"†ˇ 3+^ 4!†˘ 5%†° 6/†˛ 7=` 8(†˙ 9)†´ öÖ†˝ üÜ†¨ óÓ†¸"#,
            r#"qQ\ wW| eEÄ rR¶ t z uU€ i o p őŐ÷ úÚ× ű"#,
            "aAä sSđ dDĐ fF[ gG] h j kKł lLŁ éÉ$ áÁß",
            "íÍ< yY> xX# cC& vV@ bB{ nN} m ,?; .: -_*",
        ],
    },
    Table {
        name: "ro",
        rows: [
            "`~ 1! 2@†ˇ 3# 4$†˘ 5%†° 6^†˛ 7& 8*†˙ 9(†´ 0)†˝ -_†¨ =+†¸",
            r#"qQâ wWß eE€ r tTț y u iIî o pP§ [{ ]} \|"#,
            r#"aAă sSș dDđ f g h j k lLł ;: '""#,
            r#"\| z x c v b n m ,<« .>» /?"#,
        ],
    },
    Table {
        name: "hr",
        rows: [
            r#"`~¬ 1! 2"†ˇ 3#^ 4$†˘ 5%° 6&†˛ 7/ 8(†˙ 9)†´ 0=†˝ '?†¨ +*†¸"#,
            r#"qQ\ wW| eE€ rR¶ t z u i oOø pPþ šŠ÷ đĐ× ž"#,
            "aAæ s d fF[ gG] h j kKł l č ćĆß",
            "<> y x cC¢ vV@ bB{ nN} mM§ ,; .: -_",
        ],
    },
    Table {
        name: "tr",
        rows: [
            r#""é 1! 2'£ 3^# 4+$ 5%½ 6&¾ 7/{ 8([ 9)] 0=} *?\ -_|"#,
            "qQ@ w eE€ rR¶ t y uUû ıIî oOô p ğĞ†¨ üÜ~ ,;`",
            "aAâ sSß d fFª g h j k l şŞ´ iİ",
            "<> zZ« xX» cC¢ v b n mMµ öÖ× çÇ· .:†˙",
        ],
    },
    Table {
        name: "jp",
        rows: [
            r#"∅ 1! 2" 3# 4$ 5% 6& 7' 8( 9) 0 -= ^~ \|"#,
            "q w e r t y u i o p @` [{ ]}",
            "a s d f g h j k l ;+ :*",
            r#"∅ z x c v b n m ,< .> /? \_"#,
        ],
    },
    Table {
        name: "dvorak",
        rows: [
            "`~ 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( 0) [{ ]}",
            r#"'" ,< .> p y f g c r l /? =+ \|"#,
            "a o e u i d h t n s -_",
            "∅ ;: q j k x b m w v z",
        ],
    },
    Table {
        name: "colemak",
        rows: [
            "`~ 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( 0) -_ =+",
            r#"q w f p g j l u y ;: [{ ]} \|"#,
            r#"a r s t d h n e i o '""#,
            "∅ z x c v b k m ,< .> /?",
        ],
    },
];

/// What dead keys make of letters: the dead key's character, and pairs of a letter and the result.
pub const COMPOSED: [(char, &str); 13] = [
    ('`', "aàeèiìoòuùAÀEÈIÌOÒUÙ"),
    ('´', "aáeéiíoóuúyýcćnńsśzźlĺrŕAÁEÉIÍOÓUÚYÝCĆNŃSŚZŹLĹRŔ"),
    ('^', "aâeêiîoôuûAÂEÊIÎOÔUÛ"),
    ('~', "aãnñoõAÃNÑOÕ"),
    ('¨', "aäeëiïoöuüyÿAÄEËIÏOÖUÜ"),
    ('°', "aåuůAÅUŮ"),
    ('¸', "cçsşCÇSŞ"),
    ('ˇ', "cčdďeěnňrřsštťzžCČDĎEĚNŇRŘSŠTŤZŽ"),
    ('˛', "aąeęAĄEĘ"),
    ('˝', "oőuűOŐUŰ"),
    ('˘', "aăgğAĂGĞ"),
    ('˙', "zżZŻ"),
    ('¯', "aāeēiīoōuūAĀEĒIĪOŌUŪ"),
];
