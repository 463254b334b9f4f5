package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

const (
	columns    = 118  // a longer line is cut
	charWidth  = 7.25 // pixels of a monospaced font of fontSize
	lineHeight = 17
	fontSize   = 12
	margin     = 14
)

// draw makes an SVG of what the demo said.
func draw(said string) []byte {
	lines := []string{"$ make demo"}
	for line := range strings.Lines(said) {
		line = strings.TrimRight(line, " \n")
		if strings.HasPrefix(line, heading) {
			lines = append(lines, "")
		}
		if line != "" {
			lines = append(lines, cut(line))
		}
	}
	var svg bytes.Buffer
	width, height := columns*charWidth+2*margin, len(lines)*lineHeight+2*margin
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %d" width="%g" height="%d" font-family="ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="%d">`+"\n",
		width, height, width, height, fontSize)
	fmt.Fprintf(&svg, "<title>What make demo prints, without the log of claimdir</title>\n")
	fmt.Fprintf(&svg, `<rect width="%g" height="%d" rx="6" fill="#14191f"/>`+"\n", width, height)
	for i, line := range lines {
		colour := "#c9d1d9"
		if strings.HasPrefix(line, heading) || i == 0 {
			colour = "#8fd694"
		}
		fmt.Fprintf(&svg, `<text x="%d" y="%d" fill="%s" xml:space="preserve">`, margin, margin+fontSize+i*lineHeight, colour)
		_ = xml.EscapeText(&svg, []byte(line)) // a buffer takes all
		fmt.Fprint(&svg, "</text>\n")
	}
	fmt.Fprint(&svg, "</svg>\n")
	return svg.Bytes()
}

func cut(line string) string {
	if runes := []rune(line); len(runes) > columns {
		return string(runes[:columns-1]) + "…"
	}
	return line
}
