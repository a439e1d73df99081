//! Axes, curves and words of one plot, as SVG inside the page.

use std::fmt::Write;

/// Of the drawing, in its own units.
pub(super) const WIDTH: f64 = 560.0;
pub(super) const HEIGHT: f64 = 260.0;
/// Room around the drawing for the words of its axes: left, right, top, bottom.
const MARGIN: (f64, f64, f64, f64) = (58.0, 14.0, 26.0, 38.0);

/// From a value to a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    log: bool,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// From zero, or from `from`, to a round number at or above `to`.
    fn linear(from: f64, to: f64, start: f64, end: f64) -> Scale {
        Scale { log: false, from, to: to.max(from + 1e-9), start, end }
    }

    /// Whole decades around the values.
    fn log(from: f64, to: f64, start: f64, end: f64) -> Scale {
        let from = 10f64.powf(from.max(1e-6).log10().floor());
        let to = 10f64.powf(to.max(from * 1.01).log10().ceil());
        Scale { log: true, from, to, start, end }
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = (self.to / self.from).log10().round() as i32;
            return (0..=decades).map(|decade| self.from * 10f64.powi(decade)).collect();
        }
        let step = round_step((self.to - self.from) / 5.0);
        let first = (self.from / step).ceil() as i64;
        (first..).map(|index| index as f64 * step).take_while(|tick| *tick <= self.to * (1.0 + 1e-9)).collect()
    }
}

/// 1, 2 or 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|round| *round >= step).unwrap_or(power)
}

/// A plot that is being drawn.
pub(super) struct Chart {
    id: String,
    title: String,
    description: String,
    pub(super) x: Scale,
    pub(super) y: Scale,
    body: String,
    legend: Vec<(&'static str, usize)>,
}

/// What an axis spans, and what it is called.
pub(super) struct Axis<'a> {
    pub(super) name: &'a str,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) log: bool,
    /// Other words at other places than those that are found.
    pub(super) ticks: Option<Vec<(f64, String)>>,
}

impl<'a> Axis<'a> {
    pub(super) fn linear(name: &'a str, from: f64, to: f64) -> Axis<'a> {
        Axis { name, from, to, log: false, ticks: None }
    }

    pub(super) fn log(name: &'a str, from: f64, to: f64) -> Axis<'a> {
        Axis { name, from, to, log: true, ticks: None }
    }
}

impl Chart {
    pub(super) fn new(id: &str, title: &str, description: &str, x: &Axis<'_>, y: &Axis<'_>) -> Chart {
        let (left, right, top, bottom) = MARGIN;
        let scale = |axis: &Axis<'_>, start, end| match axis.log {
            true => Scale::log(axis.from, axis.to, start, end),
            false => Scale::linear(axis.from, axis.to, start, end),
        };
        let mut chart = Chart {
            id: id.to_owned(),
            title: title.to_owned(),
            description: description.to_owned(),
            x: scale(x, left, WIDTH - right),
            y: scale(y, HEIGHT - bottom, top),
            body: String::new(),
            legend: Vec::new(),
        };
        chart.axes(x, y);
        chart
    }

    fn axes(&mut self, x: &Axis<'_>, y: &Axis<'_>) {
        let (left, right, top, bottom) = MARGIN;
        let words = |axis: &Axis<'_>, scale: &Scale| {
            let found = || scale.ticks().into_iter().map(|tick| (tick, number(tick))).collect();
            axis.ticks.clone().unwrap_or_else(found)
        };
        let (floor, end) = (HEIGHT - bottom, WIDTH - right);
        for (tick, word) in words(y, &self.y) {
            let at = self.y.at(tick);
            let _ = write!(self.body, "<path class=\"grid\" d=\"M{left} {at:.1}H{end}\"/>");
            let _ = write!(
                self.body,
                "<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{word}</text>",
                left - 6.0,
                at + 4.0
            );
        }
        for (tick, word) in words(x, &self.x) {
            let at = self.x.at(tick);
            let _ = write!(self.body, "<path class=\"grid\" d=\"M{at:.1} {top}V{floor}\"/>");
            let _ = write!(
                self.body,
                "<text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{word}</text>",
                floor + 16.0
            );
        }
        let _ = writeln!(self.body, "<path class=\"axis\" fill=\"none\" d=\"M{left} {top}V{floor}H{end}\"/>");
        let _ = write!(
            self.body,
            "<text class=\"tick\" x=\"{end}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            HEIGHT - 4.0,
            x.name
        );
        let _ = writeln!(self.body, "<text class=\"tick\" x=\"2\" y=\"14\">{}</text>", y.name);
    }

    /// A stretch of the x axis that is set apart.
    pub(super) fn shade(&mut self, from: f64, to: f64) {
        let (start, end) = (self.x.at(from), self.x.at(to));
        let (_, _, top, bottom) = MARGIN;
        let shade = format!(
            "<rect class=\"shade\" x=\"{start:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            (end - start).max(0.0),
            HEIGHT - bottom - top
        );
        self.body.insert_str(0, &shade);
    }

    /// A moment to point at.
    pub(super) fn mark(&mut self, at: f64) {
        let (_, _, top, bottom) = MARGIN;
        let _ = write!(self.body, "<path class=\"mark\" d=\"M{:.1} {top}V{}\"/>", self.x.at(at), HEIGHT - bottom);
    }

    /// One curve; `style` is 1 to 4. A gap in the values is a gap in the curve.
    pub(super) fn curve(
        &mut self,
        name: &'static str,
        style: usize,
        points: impl IntoIterator<Item = (f64, Option<f64>)>,
    ) {
        let (mut path, mut pen, mut any) = (String::new(), 'M', false);
        for (x, y) in points {
            let Some(y) = y.filter(|y| y.is_finite()) else {
                pen = 'M';
                continue;
            };
            let _ = write!(path, "{pen}{:.1} {:.1}", self.x.at(x), self.y.at(y));
            (pen, any) = ('L', true);
        }
        if any {
            let _ = writeln!(self.body, "<path class=\"curve s{style}\" d=\"{path}\"/>");
            self.legend.push((name, style));
        }
    }

    /// Anything else inside the plot.
    pub(super) fn draw(&mut self, svg: &str) {
        self.body.push_str(svg);
    }

    /// The figure: what it is called, and the drawing with its words.
    pub(super) fn figure(mut self) -> String {
        let mut at = MARGIN.0 + 100.0;
        for (name, style) in std::mem::take(&mut self.legend) {
            let _ = write!(
                self.body,
                "<path class=\"curve s{style}\" d=\"M{at} 10h22\"/><text x=\"{}\" y=\"14\">{name}</text>",
                at + 26.0
            );
            at += 44.0 + 6.6 * name.chars().count() as f64;
        }
        framed(&self.id, &self.title, &self.description, HEIGHT, &self.body)
    }
}

/// A drawing of its own as a figure; `title` and `description` are safe text.
pub(super) fn framed(id: &str, title: &str, description: &str, height: f64, body: &str) -> String {
    format!(
        "<figure>\n<figcaption>{title}<small>{description}</small></figcaption>\n\
         <div class=\"scroll\" role=\"region\" aria-label=\"Plot: {title}\" tabindex=\"0\">\
         <svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{description}</desc>\n{body}\n</svg></div>\n</figure>\n"
    )
}

/// A number for an axis.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1e6 => format!("{}M", value / 1e6),
        size if size >= 1e4 => format!("{}k", value / 1e3),
        size if size >= 1.0 => format!("{}", (value * 100.0).round() / 100.0),
        _ => format!("{}", (value * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_put_values_where_they_belong_and_never_outside() {
        let scale = Scale::log(2.0, 300.0, 0.0, 300.0);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert!((scale.at(10.0) - 100.0).abs() < 1e-9 && scale.at(0.0) == 0.0 && scale.at(1e9) == 300.0);
        let scale = Scale::linear(0.0, 23.0, 100.0, 0.0);
        assert_eq!(scale.ticks(), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert!((scale.at(11.5) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_missing_is_a_gap() {
        let mut chart = Chart::new("a", "t", "d", &Axis::linear("x", 0.0, 3.0), &Axis::linear("y", 0.0, 1.0));
        chart.curve("c", 1, [(0.0, Some(0.0)), (1.0, None), (2.0, Some(1.0)), (3.0, Some(f64::NAN))]);
        chart.curve("nothing", 2, [(0.0, None)]);
        let figure = chart.figure();
        assert_eq!(figure.matches("curve s1\" d=\"M").count(), 2, "the curve and its legend: {figure}");
        assert!(!figure.contains("nothing") && !figure.contains("NaN"));
    }
}
