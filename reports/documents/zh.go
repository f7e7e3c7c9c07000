package documents

var words = map[string]string{}

var sentences = [][2]string{}
