//! The two pictures that the demo leaves behind: the gallery and the plot.

use crate::Outcome;
use crate::pictures::{Pictures, SIDE};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, RgbImage, imageops};
use instdisc::eval::Neighbour;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

/// All is drawn larger by this and made smaller at the end, for smooth lines and letters.
const SCALE: u32 = 3;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(60, 60, 60);
const FAINT: RGBColor = RGBColor(225, 225, 225);

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// What `paint` draws on white, as a PNG of `width` by `height`.
fn drawn(width: u32, height: u32, paint: impl FnOnce(&Area<'_>) -> Outcome<()>) -> Outcome<Vec<u8>> {
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).map_err(|_| "the font cannot be read")?;
    let mut large = RgbImage::new(width * SCALE, height * SCALE);
    {
        let root = BitMapBackend::with_buffer(&mut large, (width * SCALE, height * SCALE)).into_drawing_area();
        root.fill(&WHITE)?;
        paint(&root)?;
        root.present()?;
    }
    let small = imageops::thumbnail(&large, width, height); // the mean of SCALE × SCALE pixels
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Best, FilterType::Adaptive).write_image(
        &small,
        width,
        height,
        ExtendedColorType::Rgb8,
    )?;
    Ok(file)
}

/// A length in drawn pixels.
fn px(length: u32) -> i32 {
    (length * SCALE) as i32
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
    const CELL: u32 = SIDE + 8;
    const GAP: u32 = 24;
    const MARGIN: u32 = 28;
    const HEAD: u32 = 56;
    let shown = neighbours.first().map_or(0, Vec::len);
    let column = (shown as u32 + 1) * CELL + GAP + MARGIN;
    drawn(2 * column + MARGIN - 8, HEAD + ROWS as u32 * CELL + MARGIN - 8, |root| {
        let text = (FONT, px(24)).into_font().color(&INK);
        for side in 0..2 {
            let left = MARGIN + side * column;
            let right = left + CELL + GAP;
            root.draw(&Text::new("query", (px(left), px(20)), text.clone()))?;
            root.draw(&Text::new(format!("{shown} nearest neighbours, the nearest first"), (px(right), px(20)), text.clone()))?;
            let line = left + CELL + (GAP - 8) / 2;
            let ends = [(px(line), px(HEAD)), (px(line), px(HEAD + ROWS as u32 * CELL - 8))];
            root.draw(&PathElement::new(ends, FAINT.stroke_width(SCALE)))?;
        }
        for place in 0..2 * ROWS {
            let query = (2 * place + 1) * pictures.originals.len() / (4 * ROWS); // spread evenly, not chosen
            let (left, top) = (MARGIN + (place / ROWS) as u32 * column, HEAD + (place % ROWS) as u32 * CELL);
            paste(root, &pictures.originals[query], left, top)?;
            for (i, neighbour) in neighbours[query].iter().enumerate() {
                let x = left + (i as u32 + 1) * CELL + GAP;
                paste(root, &pictures.originals[neighbour.row as usize], x, top)?;
            }
        }
        Ok(())
    })
}

fn paste(root: &Area<'_>, picture: &RgbImage, left: u32, top: u32) -> Outcome<()> {
    for (x, y, colour) in picture.enumerate_pixels() {
        let corner = (px(left + x), px(top + y));
        let [r, g, b] = colour.0;
        let ends = [corner, (corner.0 + SCALE as i32, corner.1 + SCALE as i32)];
        root.draw(&Rectangle::new(ends, RGBColor(r, g, b).filled()))?;
    }
    Ok(())
}

/// The loss and recall@1 over the epochs.
pub(crate) fn plot(curve: &Curve) -> Outcome<Vec<u8>> {
    const LOSS: RGBColor = RGBColor(205, 90, 25);
    const RECALL: RGBColor = RGBColor(25, 95, 175);
    let epochs = curve.loss.len() as i32;
    let top = 1.05 * curve.loss.iter().map(|&(_, loss)| f64::from(loss)).fold(0.0, f64::max);
    drawn(960, 480, |root| {
        let (small, large) = ((FONT, px(17)).into_font().color(&INK), (FONT, px(20)).into_font().color(&INK));
        let mut chart = ChartBuilder::on(root)
            .margin(px(18))
            .x_label_area_size(px(52))
            .y_label_area_size(px(60))
            .right_y_label_area_size(px(64))
            .build_cartesian_2d(0..epochs, 0.0..top)?
            .set_secondary_coord(0..epochs, 0.0..100.0);
        let mut mesh = chart.configure_mesh();
        mesh.disable_mesh().x_desc("epoch").y_desc("loss");
        mesh.y_label_formatter(&|y| format!("{y:.0}")).axis_style(INK.stroke_width(SCALE)).label_style(small.clone());
        mesh.set_all_tick_mark_size(px(6)).axis_desc_style(large.clone()).draw()?;
        let mut axes = chart.configure_secondary_axes();
        axes.y_desc("recall@1 (%)").y_label_formatter(&|y| format!("{y:.0}")).axis_style(INK.stroke_width(SCALE));
        axes.set_all_tick_mark_size(px(6)).label_style(small.clone()).axis_desc_style(large).draw()?;

        // The lines of the legend stand a little higher than plotters puts them, at the height of its letters.
        let key = |colour: RGBColor| {
            move |(x, y)| PathElement::new([(x, y - px(3)), (x + px(28), y - px(3))], colour.stroke_width(2 * SCALE))
        };
        let dash = |x| PathElement::new([(px(x), -px(3)), (px(x + 8), -px(3))], RECALL.stroke_width(2 * SCALE));
        let losses = curve.loss.iter().map(|&(epoch, loss)| (epoch as i32, f64::from(loss)));
        chart.draw_series(LineSeries::new(losses, LOSS.stroke_width(2 * SCALE)))?.label("loss").legend(key(LOSS));
        let points: Vec<_> = curve.recall.iter().map(|&(epoch, share)| (epoch as i32, 100.0 * share)).collect();
        chart.draw_secondary_series(points.iter().map(|&point| Circle::new(point, px(4), RECALL.filled())))?;
        let line = LineSeries::new(points, RECALL.stroke_width(2 * SCALE));
        chart.draw_secondary_series(line)?.label("recall@1, trained").legend(key(RECALL));
        let raw = [0, epochs].map(|epoch| (epoch, 100.0 * curve.raw));
        let line = DashedLineSeries::new(raw, px(8), px(6), RECALL.stroke_width(2 * SCALE));
        let raw = chart.draw_secondary_series(line)?.label("recall@1, raw pixels");
        raw.legend(move |at| EmptyElement::at(at) + dash(0) + dash(10) + dash(20));
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::Coordinate(px(600), px(6))).legend_area_size(px(36));
        legend.background_style(WHITE).border_style(FAINT).label_font(small).draw()?;
        Ok(())
    })
}
