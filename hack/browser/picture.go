package browser

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"slices"
	"time"
)

// loading is how long a page may take to load.
const loading = 30 * time.Second

// Open opens an address on a screen of that width in pixels, in a colour scheme, "light" or "dark", and waits until it is loaded, at
// most until ctx is done.
func (b *Browser) Open(ctx context.Context, url string, width int, scheme string) error {
	for _, step := range []struct {
		method string
		params map[string]any
	}{
		{"Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}},
		{"Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}},
		{"Page.navigate", map[string]any{"url": url}},
	} {
		if err := b.Call(step.method, step.params, nil); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, loading)
	defer cancel()
	for {
		var there bool
		if err := b.Evaluate(fmt.Sprintf(`document.readyState === "complete" && location.href === %q`, url), &there); err != nil || there {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s is not loaded: %w", url, ctx.Err())
		}
	}
}

// Screenshot returns a PNG of all of the page, in few colours.
func (b *Browser) Screenshot() ([]byte, error) {
	var shot struct{ Data string }
	if err := b.Call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot); err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		return nil, err
	}
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var small bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, paletted(picture))
	return small.Bytes(), err
}

// near reports whether two colours look alike.
func near(a, b color.RGBA) bool {
	apart := func(x, y uint8) int { return max(int(x)-int(y), int(y)-int(x)) }
	return max(apart(a.R, b.R), apart(a.G, b.G), apart(a.B, b.B)) < 10
}

// paletted returns the picture in few colours: of those that look alike, the most frequent one.
func paletted(picture image.Image) *image.Paletted {
	count := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA) }
	bounds := picture.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	colours := make([]color.RGBA, 0, len(count))
	for c := range count {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int { return count[b] - count[a] })
	var palette color.Palette
	for _, c := range colours {
		if len(palette) < 32 && !slices.ContainsFunc(palette, func(other color.Color) bool { return near(c, other.(color.RGBA)) }) {
			palette = append(palette, c)
		}
	}
	result, index := image.NewPaletted(bounds, palette), map[color.RGBA]uint8{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := at(x, y)
			i, known := index[c]
			if !known {
				i = uint8(palette.Index(c))
				index[c] = i
			}
			result.SetColorIndex(x, y, i)
		}
	}
	return result
}
