package documents

// Translate is t for tests.
func Translate(d Document, text string) string { return d.t(text) }

// Effect is for tests.
var Effect = effect
