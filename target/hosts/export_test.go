package hosts

// ReplaceFile is what tests from outside of the package try.
var ReplaceFile = replaceFile
