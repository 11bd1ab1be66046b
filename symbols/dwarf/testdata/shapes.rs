// Types with variants, generics and inlined calls.
use std::collections::HashMap;

enum Shape {
    Circle(f64),
    Rect { w: u32, h: u32 },
    Empty,
}

#[inline(never)]
fn area(s: &Shape) -> f64 {
    match s {
        Shape::Circle(r) => r * r * 3.0,
        Shape::Rect { w, h } => (*w as f64) * (*h as f64),
        Shape::Empty => 0.0,
    }
}

fn main() {
    let mut m: HashMap<String, Option<Box<i32>>> = HashMap::new();
    m.insert("a".into(), Some(Box::new(3)));
    let all = [Shape::Circle(2.0), Shape::Rect { w: 2, h: 3 }, Shape::Empty];
    println!("{} {}", all.iter().map(area).sum::<f64>(), m["a"].is_some());
}
