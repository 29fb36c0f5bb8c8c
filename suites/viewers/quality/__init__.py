"""The quality viewer: MUSIQ, HPSv3 and VideoReward, by packages of their own."""
