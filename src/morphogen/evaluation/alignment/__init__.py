"""Do pictures show what their captions say?"""
