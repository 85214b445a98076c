//! The two pictures that the demo leaves behind: the gallery and the plot.

use crate::pictures::{Pictures, SIDE};
use image::{ExtendedColorType, ImageEncoder, codecs::png};
use instdisc::eval::Neighbour;
use plotters::prelude::*;
use plotters::style::register_font;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
/// A picture's frame around what `paint` draws on white, as a PNG.
fn drawn(
    size: (u32, u32),
    paint: impl FnOnce(&DrawingArea<BitMapBackend, plotters::coord::Shift>) -> Outcome<()>,
) -> Outcome<Vec<u8>> {
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).map_err(|_| "the font cannot be read")?;
    let mut pixels = vec![255; (size.0 * size.1 * 3) as usize];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        root.fill(&WHITE)?;
        paint(&root)?;
        root.present()?;
    }
    let mut file = Vec::new();
    png::PngEncoder::new_with_quality(&mut file, png::CompressionType::Best, png::FilterType::Adaptive).write_image(
        &pixels,
        size.0,
        size.1,
        ExtendedColorType::Rgb8,
    )?;
    Ok(file)
}

/// What the plot shows.
pub(crate) struct Curve {
    /// Recall@1 of raw pixels.
    pub(crate) raw: f64,
    /// The loss after each epoch.
    pub(crate) loss: Vec<(usize, f32)>,
    /// Recall@1 after some epochs.
    pub(crate) recall: Vec<(usize, f64)>,
}

/// Rows of pictures with their nearest neighbours, in two columns.
pub(crate) fn gallery(pictures: &Pictures, neighbours: &[Vec<Neighbour>]) -> Outcome<Vec<u8>> {
    const ROWS: usize = 6;
    let (cell, gap, head, margin) = (SIDE as i32 + 8, 28, 44, 24);
    let shown = neighbours.first().map_or(0, Vec::len) as i32;
    let column = (shown + 1) * cell + gap;
    let size = (2 * column + 3 * margin, head + ROWS as i32 * cell + margin);
    drawn((size.0 as u32, size.1 as u32), |root| {
        let text = ("sans-serif", 24).into_font().color(&RGBColor(60, 60, 60));
        for place in 0..2 * ROWS {
            let query = (2 * place + 1) * pictures.originals.len() / (4 * ROWS);
            let left = margin + (place / ROWS) as i32 * (column + margin);
            let top = head + (place % ROWS) as i32 * cell;
            if place % ROWS == 0 {
                root.draw(&Text::new("emoji", (left, 12), text.clone()))?;
                root.draw(&Text::new(
                    format!("its {shown} nearest neighbours, nearest first"),
                    (left + cell + gap, 12),
                    text.clone(),
                ))?;
            }
            let rows = std::iter::once(query).chain(neighbours[query].iter().map(|n| n.row as usize));
            for (i, picture) in rows.enumerate() {
                let x = left + i as i32 * cell + if i > 0 { gap } else { 0 };
                let pixels = pictures.originals[picture].enumerate_pixels();
                for (dx, dy, colour) in pixels {
                    let [r, g, b] = colour.0;
                    root.draw_pixel((x + dx as i32, top + dy as i32), &RGBColor(r, g, b))?;
                }
            }
            let x = left + cell + gap / 2 - 4;
            root.draw(&PathElement::new([(x, top), (x, top + SIDE as i32)], RGBColor(200, 200, 200)))?;
        }
        Ok(())
    })
}

/// The loss and recall@1 over the epochs.
pub(crate) fn plot(curve: &Curve) -> Outcome<Vec<u8>> {
    const LOSS: RGBColor = RGBColor(214, 96, 30);
    const RECALL: RGBColor = RGBColor(30, 100, 180);
    let epochs = curve.loss.len().max(1) as f64;
    let losses = curve.loss.iter().map(|l| f64::from(l.1));
    let (low, high) = losses.fold((f64::MAX, f64::MIN), |(low, high), l| (low.min(l), high.max(l)));
    let room = 0.05 * (high - low).max(0.1);
    drawn((960, 480), |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .right_y_label_area_size(64)
            .build_cartesian_2d(0.0..epochs, low - room..high + room)?
            .set_secondary_coord(0.0..epochs, 0.0..100.0);
        let grey = RGBColor(235, 235, 235);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(grey)
            .x_desc("epoch")
            .y_desc("loss")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .label_style(("sans-serif", 18))
            .axis_desc_style(("sans-serif", 20))
            .draw()?;
        chart
            .configure_secondary_axes()
            .y_desc("recall@1, %")
            .y_label_formatter(&|y| format!("{y:.0}"))
            .label_style(("sans-serif", 18))
            .axis_desc_style(("sans-serif", 20))
            .draw()?;
        let key = |colour: RGBColor| move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3));
        let loss = LineSeries::new(curve.loss.iter().map(|&(e, l)| (e as f64, f64::from(l))), LOSS.stroke_width(2));
        chart.draw_series(loss)?.label("loss").legend(key(LOSS));
        let points: Vec<_> = curve.recall.iter().map(|&(e, r)| (e as f64, 100.0 * r)).collect();
        let recall = LineSeries::new(points.clone(), RECALL.stroke_width(2));
        chart.draw_secondary_series(recall)?.label("recall@1").legend(key(RECALL));
        chart.draw_secondary_series(points.iter().map(|&point| Circle::new(point, 4, RECALL.filled())))?;
        let dash = |x| PathElement::new([(x, 0), (x + 10, 0)], RECALL.stroke_width(2));
        let raw = [(0.0, 100.0 * curve.raw), (epochs, 100.0 * curve.raw)];
        chart
            .draw_secondary_series(DashedLineSeries::new(raw, 8, 6, RECALL.stroke_width(2)))?
            .label("recall@1 of raw pixels")
            .legend(move |at| EmptyElement::at(at) + dash(0) + dash(14));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::MiddleRight)
            .background_style(WHITE.mix(0.9))
            .border_style(grey)
            .label_font(("sans-serif", 18))
            .draw()?;
        Ok(())
    })
}
