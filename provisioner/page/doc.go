// Package page shows on one HTML page what claimdir knows at the moment: shares, the largest volumes and
// namespaces, claims that are refused, trash, archives, and what the last sweep found.
//
//	data.go     Data: what the page shows, in plain values
//	sizes.go    the largest of very many volumes and namespaces, in one pass
//	handler.go  who may ask, how often a page is made, and what a browser may do with it
//	view.go     how values are written for people
//	page.html   the page; page.css its looks
//
// Three rules hold whatever the data are:
//
//   - A request never causes a call to a share or to the API server: Data comes from memory.
//   - The page is bounded. A table has a fixed number of rows and says how many more there are, names and texts
//     are cut, and however often the page is asked for, making it takes a fiftieth of one processor at most.
//   - A name or text, which a tenant may have chosen, is text on the page and nothing else. html/template
//     escapes it, unprintable characters are replaced, and the Content-Security-Policy allows no script, no
//     outside resource, and no style but page.css.
package page
