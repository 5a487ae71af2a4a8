use super::*;

#[test]
fn lab() {
    for name in std::env::var("LAB").unwrap_or_default().split(',').filter(|n| !n.is_empty()) {
        let base = format!("/tmp/screenlab/run/{name}");
        let pixels = Pixels::from_ppm(&std::fs::read(format!("{base}.ppm")).unwrap()).unwrap();
        let memory = std::fs::read(format!("{base}.mem")).unwrap_or_default();
        let t = std::time::Instant::now();
        let text = text_mode(&pixels, &memory);
        println!("== {name} text mode {:?} in {:?}", text.is_some(), t.elapsed());
        if let Some(text) = text {
            println!("{}", text.text());
        }
        let mut r = Recognizer::default();
        let t = std::time::Instant::now();
        let text = r.read(&pixels);
        println!("== {name} pixels {:?}", t.elapsed());
        let t = std::time::Instant::now();
        r.read(&pixels);
        println!("== {name} again {:?} {:?}", t.elapsed(), r);
        println!("{}", text.text());
    }
}
